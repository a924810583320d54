"""slide as a contender: the bare sampled network, of the same shape as PyTorch's beside it, or the estimator.

The bare network is a SparseInput and a Sampled layer. The estimator adds what its defaults add (the sparse linear part,
a learning rate that falls to 0 over the epochs) and takes only the hidden width from the job.
"""

from __future__ import annotations

from typing import Any

from benchmarks.contenders.session import Over, Session, main


def bare(session: Session) -> Any:
    """The network of the job. Options: `optimizer` ("adam" or slide's own), `lr`, and fields of Sampled."""
    import slide

    options = dict(session.options)
    name, lr = options.pop("optimizer", None), options.pop("lr", None)
    optimizer = slide.Adam(lr=lr or 1e-3) if name == "adam" else None
    layers = [
        slide.SparseInput(session.X.shape[1], session.hidden, activation=session.activation),
        slide.Sampled(session.Y.shape[1], **options),
    ]
    return slide.Network(layers, optimizer=optimizer, n_threads=session.threads, seed=session.seed)


def estimator(session: Session) -> Any:
    """SlideClassifier with its defaults. Options are its arguments."""
    import slide

    options = {key: value for key, value in session.options.items() if key != "estimator"}
    return slide.SlideClassifier(
        (session.hidden,), epochs=session.epochs, n_threads=session.threads, random_state=session.seed, **options
    )


def run(session: Session) -> None:
    import slide

    whole = bool(session.options.get("estimator"))
    model = estimator(session) if whole else bare(session)
    rebuilds = {"rebuilds": 0, "rebuild_seconds": 0.0}

    def top(X: Any) -> Any:
        return model.predict_topk(X, k=1)[0]

    def watch(progress: Any) -> None:
        rebuilds.update(rebuilds=progress.rebuilds, rebuild_seconds=progress.rebuild_seconds)
        session.step(progress.done)
        if not progress.epoch_ended:
            return
        session.epoch_stop(progress.epoch + 1, top)
        if progress.epoch + 1 < session.epochs:
            session.epoch_start(progress.epoch + 2)

    session.ready(device="cpu", precision="float32", version=slide.__version__, model=repr(model))
    session.epoch_start(1)
    try:
        if whole:
            model.fit(session.X, session.Y, callback=watch)
        else:
            model.fit(session.X, session.Y, epochs=session.epochs, callback=watch)
    except Over:
        pass
    net = model.network_ if whole else model
    tables = sum(s.lsh.buckets.nbytes for s in net.states if s.lsh is not None)
    facts = {"isa": net.isa, "parameter_bytes": net.n_bytes, "table_bytes": tables, **rebuilds}
    session.finish(net.epoch + 1, None if session.evaluate_epochs else top, **facts)


if __name__ == "__main__":
    main(run)
