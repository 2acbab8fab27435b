"""Captions of plots and controls, a sentence or two each. The one home of these texts.

Help texts of settings are in :mod:`tsnn.config`. Papers: SET is Nature Communications 2018
(s41467-018-04316-3); the others are named by their arXiv number.
"""

from __future__ import annotations

CAPTIONS: dict[str, str] = {
    # curves
    "accuracy": "Fraction of samples classified correctly, or of labels where each sample has several. Training "
    "accuracy is measured during the epoch, with dropout, so it may stay below test accuracy. Grey, dashed: always "
    "answering the most frequent class, if that is in view.",
    "r2": "1 - squared error / variance of the targets: 1 is perfect, 0 is as good as always answering their mean. "
    "Training R² is measured during the epoch, with dropout, so it may stay below test R².",
    "loss": "The quantity that training minimises; in regression the squared error in the target's units. "
    "Test loss rising while training loss falls: overfitting.",
    "connections": "Evolution adds the number of connections that it removes (SET, Methods): lines fall only where "
    "neurons are pruned or epsilon is lowered (2102.01732, section 3.3).",
    "density": "Fraction of a dense layer's connections that exist: epsilon (n_in + n_out) / (n_in n_out), so wide "
    "layers are the sparsest (SET, Methods).",
    "seconds": "Where the time of an epoch goes. Training and evolution both take time in proportion to the "
    "connections that exist, not to the square of the neurons.",
    # network
    "network": "Each line is a connection: thick if its |weight| is large, strong in colour if it is old. Evolution "
    "prunes weak ones (dotted) and regrows as many elsewhere (dashed). Large neurons have many connections, grey ones "
    "are cut off. Of a large network the strongest neurons are drawn; grey bands: all its connections, in blocks. "
    "Point at a neuron to see its fan-in (orange) and fan-out (pink).",
    "slow_motion": "Play the evolution of this snapshot slowly: prune, regrow, train.",
    # connectivity
    "input": "Connections of each input. With gradient regrowth, informative inputs gain connections within a few "
    "epochs; with random regrowth (SET) the differences stay small in a short run.",
    "features": "Strength is the sum of |weight| over a feature's connections. Evolution prunes weak connections, so "
    "useful features end with more and stronger ones; the values compare features on one scale "
    "(data.preprocessing; a factor of relevance is not counted).",
    "matrix": "Where the layer's connections are, counted in cells. Even at the start; stripes appear as some neurons "
    "gain connections and others lose them.",
    "weights": "Weights of all connections: blue negative, orange positive, their mean where a pixel holds several. "
    "Zoom in until each square is one connection; only the visible part is computed, on the server.",
    "degrees": "Fraction of neurons with at least k connections. Dashed: the same number of "
    "connections at random, no hubs. A tail to the right means that some neurons have become hubs (SET, Results).",
    "age": "Fraction of connections that are this old or older. Dotted: if pruning were random. Connections that carry "
    "signal grow strong and survive (SET, Methods).",
    "replaced": "Fraction of a layer's connections that an epoch's evolution replaced: about zeta, for any layer size. "
    "The output layer and the last epoch are not evolved (SET, Methods).",
    "itop": "Fraction of the places that have ever had a connection. Evolution explores more places than there are "
    "connections; the more, the closer a sparse network can come to a dense one (ITOP, 2102.02887).",
    "gradient_flow": "Squared norm of the gradient of the weights on one batch, the same in every epoch. Where it is "
    "near 0, a layer does not learn (2010.03533).",
    "measures": "A layer as a graph of neurons. Its random twin has the same number of connections at each neuron, "
    "elsewhere: only what differs from it was learned. Distance: fraction of a neuron's inputs that are not shared "
    "(2006.14085). Computed from a checkpoint, in a process of its own.",
    # neurons
    "importance": "Importance of a neuron is the sum of |weight| over its incoming connections; those at or below the "
    "percentile are pruned with all their connections (2102.01732, section 3.3).",
    "importance_history": "Every column is the histogram of one snapshot, bright where most neurons are. During "
    "training few neurons become important, and many can be pruned (2102.01732, section 3.3). "
    "The line is the threshold.",
    "living": "Active neurons after importance pruning; a pruned one never returns, and its connections are removed "
    "for good (2102.01732, section 3.3).",
    "neurons": "The most and the least important neurons of the layer. Choose one to see its inputs and outputs.",
    "incoming": "Weights of the connections that reach the neuron: orange raises its activity, blue lowers it, "
    "and where nothing is drawn there is no connection.",
    "outgoing": "Weights of the connections that leave the neuron: its influence on each neuron of the next layer.",
    # mistakes
    "confusion": "Test samples by their class (rows) and the class that the network predicts (columns). Blue: correct; "
    "orange: confused, the deeper the larger the fraction of the class. Click a cell to see samples of it.",
    "classes": "Recall: fraction of a class that is found. Precision: fraction of its predictions that are correct. "
    "Accuracy alone hides a class that is never predicted.",
    "scatter": "Test samples: on the dashed line a prediction is exact. The same samples at each epoch.",
    "pictures": "Left: the sample, actual → predicted class with its probability. Right: the pixels that decided "
    "(gradient times input). Orange speaks for the prediction, blue for the actual class.",
    "contributions": "Gradient times input (scaled) of the features that decided. Orange speaks for the prediction, "
    "blue for the actual class; where both are the same, for the second most probable one.",
    "errors_contributions": "The largest errors, actual → predicted value, and gradient times input (scaled) of the "
    "features that decided: orange raises the prediction, blue lowers it.",
    # comparisons
    "compared_test_accuracy": "Sparse networks often reach the accuracy of dense ones with a few per cent of the "
    "connections; one seed proves nothing, so compare means over several (SET, Results). Grey, dashed: always "
    "answering the most frequent class, if that is in view.",
    "compared_test_r2": "1 - squared error / variance of the targets: 1 is perfect, 0 is as good as always answering "
    "their mean. One seed proves nothing, so compare means over several.",
    "compared_test_loss": "The loss separates runs of equal accuracy: it measures how confident the predictions are.",
    "compared_train_loss": "A lower training loss with a higher test loss is overfitting; sparse networks have fewer "
    "weights to overfit with.",
    "compared_connections": "The cost of each result: memory and time grow with the connections "
    "(2102.01732, section 3).",
    "race": "The networks at one moment of the clock. Blue: connections, dotted red: pruned, dashed green: regrown. "
    "Of large layers the neurons with the strongest connections are drawn.",
    "distances": "Distance between the topologies of two runs after their last checkpoints (NNSTD, arXiv 2006.14085): "
    "hidden neurons are matched, 0 % is the same network, 100 % has nothing in common. Mean over the layers; in "
    "brackets that of random networks with the same degrees.",
    # sweeps
    "sweep_heat": "Mean over the seeds of trials that have finished; the spread is their standard deviation. Click a "
    "cell, or drag over several: all plots mark them. Escape clears the selection.",
    "sweep_connections": "Each point is a combination of settings, the mean over its seeds. No other point is better "
    "than those on the dashed line (Pareto front) with as few connections. Star: dense.",
    "sweep_seconds": "Seconds of training, evolution and evaluation. Runs that trained side by side slow each other "
    "down, so compare times of one machine and one load only.",
    "sweep_parallel": "Each line is a combination of settings, coloured by its result: blue is low, orange is high.",
    "sweep_importance": "Fraction of the variance of the results that a setting explains by itself (analysis of "
    "variance, corrected for chance). Less than 100 % together: the settings interact. Only the values that were tried "
    "count.",
    "sweep_curves": "Mean and spread over seeds. Choose cells in any plot to see theirs.",
    "sweep_topologies": "The topology of the best run with each pair of values after its last epoch, with successive "
    "halving after the chosen round: connections of the inputs, and of the neurons of each layer. Drag the sliders, or "
    "use the arrow keys.",
    "sweep_trials": "Click a trial to open its run. Without a selection the best settings come first.",
    # workers
    "speed": "Batches that each worker trains in a second. With enough cores all are alike; a slow one delays WASSP, "
    "not WASAP (2102.01732, section 3.1).",
    "speed_history": "Batches that each worker trained in a second, epoch by epoch. Phase 2 trains without exchanges.",
    "time": "How each worker spends its time. The more of it is communication and waiting, the less another worker "
    "would help.",
    "staleness": "Updates of the weights between the moment a gradient's weights were read and its arrival. "
    "Asynchronous training (WASAP) pays for its speed with late gradients (2102.01732, section 3.1).",
    # controls
    "smoothing": "Moving average of the curves; the measured values stay visible behind it, pale.",
    "snapshot": "Drag, or use the arrow keys: every view shows the network as it was after that epoch.",
    "play": "Play the network's evolution from the selected snapshot.",
    "follow": "Show the newest epoch as it arrives. Moving the slider or a plot turns this off.",
    "layer": "Connections between two layers of neurons. The tab Neurons shows those at their end.",
    "measure": "Connections counts them; Strength adds up their |weight|.",
    "neuron": "Neurons by importance, the most important first.",
    "cell": "Kind of test samples: actual and predicted class, the most frequent confusion first.",
    "sample": "Test samples that were kept; at most 64 of an epoch, each kind of mistake first.",
    "target": "Target whose values are drawn.",
}
