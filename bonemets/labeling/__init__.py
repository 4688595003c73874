"""The annotator's loop on MONAI Label: what ``apps/monailabel`` and ``bonemets label`` are made of.

Most of `exchange`, `intake`, `tasks` and `server` imports MONAI Label and so works in its own environment only
(``make label``); `store` without its data stores, `intake.sources`, `intake.studies`, `tasks.choosing`,
`tasks.scores`, `server.compat` and `server.environment` do not.
"""
