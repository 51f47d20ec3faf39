cwlVersion: v1.2
$namespaces:
  s: https://schema.org/
s:softwareVersion: 1.0.0
$graph:
  - class: Workflow
    id: windhover
    label: Objects in pictures
    doc: Searches every scene of a staged STAC catalog by a Windhover model, each object once.
    inputs:
      scenes:
        type: Directory
        label: staged scenes
        doc: Folder with catalog.json, its items and their rasters.
      workers:
        type: int
        label: processes
        doc: Searched in at the same time; one thread and about 1 GiB each.
        default: 2
      model:
        type: Directory?
        label: another model than the image's
    outputs:
      detections:
        type: Directory
        outputSource: search/detections
        label: staged out
        doc: Folder with catalog.json, which links to the collection and its items.
    steps:
      search:
        run: "#search"
        in:
          scenes: scenes
          workers: workers
          model: model
        out: [detections]

  - class: CommandLineTool
    id: search
    requirements:
      InitialWorkDirRequirement:
        listing:
          - entryname: search.sh
            entry: |
              set -eu
              model=/model
              if [ $# -gt 2 ]; then model=$3; fi
              mkdir found
              windhover plan "$1/catalog.json" --model "$model" --output plan
              windhover run plan --local "$2"
              windhover collect plan --output found/detections
              cat > found/catalog.json <<END
              {
                "type": "Catalog",
                "stac_version": "1.1.0",
                "id": "windhover",
                "description": "Objects found by Windhover",
                "links": [
                  {"rel": "root", "href": "./catalog.json", "type": "application/json"},
                  {"rel": "child", "href": "./detections/stac/collection.json", "type": "application/json"}
                ]
              }
              END
      ResourceRequirement:
        coresMin: $(inputs.workers)
        ramMin: 4096
    hints:
      DockerRequirement:
        dockerPull: windhover-search:1.0.0
    baseCommand: [sh, search.sh]
    inputs:
      scenes:
        type: Directory
        inputBinding: {position: 1}
      workers:
        type: int
        inputBinding: {position: 2}
      model:
        type: Directory?
        inputBinding: {position: 3}
    outputs:
      detections:
        type: Directory
        outputBinding: {glob: found}
