/* infer.h: what a call of slide_predict leaves with the network. */
#ifndef SLIDE_NET_INFER_H
#define SLIDE_NET_INFER_H

#include "net/network.h"

typedef struct slide_predictor slide_predictor;

void slide_predictor_free(const slide_network *net, slide_predictor *p);

#endif
