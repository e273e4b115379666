"""The recipe of stagewhisper-nano, the model that is shipped with the package; README.md says how to run it."""
