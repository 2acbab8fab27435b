"""What each plot and control of a run's view teaches, in a sentence or two. The one home of these words.

Settings explain themselves in :mod:`tsnn.config`. Papers: SET is Nature Communications 2018
(s41467-018-04316-3); the others are named by their arXiv number.
"""

from __future__ import annotations

CAPTIONS: dict[str, str] = {
    # curves
    "accuracy": "Share of samples classified correctly. Training accuracy is taken with dropout on and while weights "
    "still change, so it may stay below that of the test.",
    "loss": "What training makes smaller. If the test loss rises while the training loss falls, the network learns "
    "its samples by heart.",
    "connections": "Evolution puts as many connections as it takes (SET, Methods): lines fall only where neurons are "
    "pruned or epsilon is lowered (2102.01732, section 3.3).",
    "density": "Share of a dense layer's connections that exist: epsilon (n_in + n_out) / (n_in n_out), so wide layers "
    "are the sparsest (SET, Methods).",
    "seconds": "Where the time of an epoch goes. Training and evolution both take time in proportion to the "
    "connections that exist, not to the square of the neurons.",
    # connectivity
    "input": "How many connections each input has. All start alike; connections to inputs that tell nothing stay weak "
    "and are pruned, so informative inputs gain them: feature selection (SET, Results).",
    "matrix": "Where the layer's connections are, counted in cells. Even at the start; stripes appear as some neurons "
    "gain connections and others lose them.",
    "degrees": "Share of neurons with k or more connections. The Erdős–Rényi start (dashed: its exact law, the "
    "hypergeometric, nearly Poisson) has no hubs; pruning weak connections and regrowing at random lets useful neurons "
    "keep what they get, hence the heavy tail (SET, Results).",
    "age": "Share of connections that are at least so old. Were pruning blind to weights, all would follow the dotted "
    "line; those that carry signal grow strong and survive (SET, Methods).",
    "replaced": "Share of a layer's connections that an epoch's evolution put in place of others: about zeta, "
    "whatever the layer's size. The output layer and the last epoch are left as they are (SET, Methods).",
    # neurons
    "importance": "Importance of a neuron is the sum of |weight| over its incoming connections; those at or below the "
    "percentile are pruned with all their connections (2102.01732, section 3.3).",
    "importance_history": "Every column is the histogram of one snapshot, bright where most neurons are. As training "
    "goes on neurons drift apart: few become important, and many can go (2102.01732, section 3.3). "
    "The line is the threshold.",
    "living": "Neurons that importance pruning has left; a pruned one never returns, and its connections leave the "
    "network's budget (2102.01732, section 3.3).",
    "neurons": "The most and the least important neurons of the layer. Choose one to see what it looks at and whom it "
    "tells.",
    "incoming": "Weights of the connections that reach the neuron: orange raises its activity, blue lowers it, "
    "and where nothing is drawn there is no connection.",
    "outgoing": "Weights of the connections that leave the neuron: how much each neuron of the next layer listens "
    "to it.",
    # comparisons
    "compared_test_accuracy": "Sparse networks often reach the accuracy of dense ones with a few per cent of the "
    "connections; one seed proves nothing, so compare means over several (SET, Results).",
    "compared_test_loss": "The loss tells runs apart where accuracies are alike: it counts how sure the answers are.",
    "compared_train_loss": "A lower training loss beside a higher test loss is overfitting; sparse networks have fewer "
    "weights to overfit with.",
    "compared_connections": "What each run pays for its result: memory and time grow with the connections "
    "(2102.01732, section 3).",
    # workers
    "speed": "Batches that each worker trains in a second. With enough cores all are alike; a slow one is waited for "
    "by WASSP, not by WASAP (2102.01732, section 3.1).",
    "time": "What a worker does with its time. The more of it goes into communicating and waiting, the less another "
    "worker would help.",
    "staleness": "How many updates the weights had seen by the time a gradient computed on them arrived. Asynchronous "
    "training (WASAP) pays for its speed with gradients that come late (2102.01732, section 3.1).",
    # controls
    "snapshot": "Drag, or use the arrow keys: every view shows the network as it was after that epoch.",
    "play": "Play the network's evolution from the snapshot that is shown.",
    "follow": "Show the newest epoch as it comes. Moving the slider or a plot turns this off.",
    "layer": "Connections between two layers of neurons. The tab Neurons shows those at their end.",
    "measure": "Connections counts them; Strength adds up their |weight|.",
    "neuron": "Neurons by importance, the most important first.",
}
