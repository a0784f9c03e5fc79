"""The policy workbench: what a policy decides, asked without serving a request.

Pure like the rest of core, and above it: nothing that runs for a request imports it.
"""
