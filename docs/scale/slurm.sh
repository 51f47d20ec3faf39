#!/bin/bash
#SBATCH --job-name=windhover
#SBATCH --array=0-99            # 0 to one less than "tasks" in plan.json
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=01:00:00
set -euo pipefail
export OMP_NUM_THREADS=1
windhover run /shared/plan --index-from SLURM_ARRAY_TASK_ID
