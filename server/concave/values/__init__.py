"""Values, their wire form, order, keys, intervals, ids, sizes, timestamps, errors, runtime and limits.

Knows nothing of Mongo or functions; imports nothing of the packages above. Import from the modules, nothing is
re-exported here. Reading order:

* `types`: what a value is in Python
* `codec`: JSON to values and back; with `encoding` (the fast way out), `coercion` (what user code hands in) and
  `printing` (values in messages)
* `order`, `keys`: the total order, and byte strings that sort alike
* `intervals`, `stabbing`: read sets, and who must hear of a write
* `ids`, `names`, `sizes`, `timestamps`: the smaller formats
* `errors` (and `faults`, how a walk over a value says where): the closed taxonomy and its mapping outward
* `limits`, `runtime`: every bound; time, randomness and tasks
"""
