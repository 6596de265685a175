"""Getting requests to a judge and answers back: patience, pace, budget, workers, batches.

`active_judge` is a judge at work; `workers` empty its queue, `batches` hand in to a batch API; `retry` decides after each
error, `pace` keeps the server's limits, `budget` the user's, `request_costs` says what a request may cost;
`label_watch` stops a judge without labels; `prefix_caching` lets the first request about a pair go ahead. `http_judges`
and `http_errors` are what HTTP providers share.
"""
