# A server of one model, from the project's wheel: docs/serve.md.
#   python -m pip wheel --no-deps --wheel-dir dist .
#   mlflow artifacts download --artifact-uri models:/aircraft@champion --dst-path served-model
#   docker build --tag windhover-serve .
#   docker run --publish 127.0.0.1:8080:8080 --volume "$PWD/scenes:/scenes:ro" windhover-serve
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    WINDHOVER_SERVE_FOLDER=/scenes

COPY dist/*.whl /tmp/wheels/
RUN pip install --extra-index-url https://download.pytorch.org/whl/cpu \
      "$(ls /tmp/wheels/windhover_eo-*.whl)[torch,openvino]" "mlflow>=3.13,!=3.18.0" \
    && rm -r /tmp/wheels

COPY served-model /model
RUN useradd --create-home --uid 1000 windhover && mkdir --parents /scenes

# by number: some hosts cannot resolve a name
USER 1000
EXPOSE 8080
CMD ["mlflow", "models", "serve", "--model-uri", "/model", "--env-manager", "local", "--host", "0.0.0.0", "--port", "8080"]
