"""The latency harness: an Xcode project that measures on the phone, and the reader of what it brings back.

In: models with golden data (`model.HarnessModel`) and a `plan.Plan`. Out: a project (`render.render`), checked results
(`results.read_result`), comparisons (`compare.compare`, `compare.tabulate`) and one HTML page (`report.report_html`).
This room knows no bundle and no command line: the pipeline builds the models from a bundle and stores the results.
"""
