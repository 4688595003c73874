"""Where labels are kept: versions, history and the data store of MONAI Label."""
