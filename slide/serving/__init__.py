"""`slide serve`: models behind HTTP. inputs.py reads requests, batching.py predicts them, app.py has the routes.

Above everything that predicts, beside nothing: only the command line knows it. The server is uvicorn (server.py).
"""
