"""The set-up of a project: scenes and labels measured, parameters and splits proposed, files
written.

`windhover init` is its command. It trains nothing; what it proposes stands with its reasons in
`params.yaml` and in `setup.json`.
"""
