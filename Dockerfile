# syntax=docker/dockerfile:1
# Two targets: `cpu`, and `cuda`, which includes training in 4 bits. docs/containers.md explains how to build and run them.
# hadolint global ignore=DL3042
FROM python:3.11.14-slim-bookworm AS python

ENV PATH=/opt/escoita/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

FROM python AS source
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY escoita escoita
COPY cards/templates cards/templates
COPY eval/templates eval/templates
COPY space/templates space/templates
COPY space/texts space/texts
COPY recipes recipes
COPY quickstart quickstart

FROM source AS build-cpu
# Index of the wheels of torch without CUDA. By default, pip uses the ones with CUDA, which also run on CPUs and are larger.
ARG TORCH_INDEX=
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /opt/escoita && \
    PIP_EXTRA_INDEX_URL="$TORCH_INDEX" /opt/escoita/bin/pip install -c constraints.txt .

FROM source AS build-cuda
# The wheels of torch contain CUDA: the machine only needs the driver.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /opt/escoita && \
    /opt/escoita/bin/pip install -c constraints.txt ".[4bit]"

FROM python AS runtime
# Recipes and models are mounted read-only below /workspace, and corpora at /mnt/datasets. Runs and cache are writable, so
# that their folders belong to the user.
RUN useradd --uid 1000 --create-home escoita && \
    install --directory --owner escoita --group escoita /workspace /workspace/runs /workspace/cache
ENV HF_HOME=/workspace/cache/huggingface \
    ESCOITA_CACHE=/workspace/cache/escoita \
    MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /workspace
USER 1000:1000
EXPOSE 7860
# Only the page listens on a port; compose.yaml disables the check for the other services.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10m --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/', timeout=4)"]
ENTRYPOINT ["escoita"]
CMD ["--help"]

FROM runtime AS cuda
COPY --from=build-cuda /opt/escoita /opt/escoita
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM runtime AS cpu
COPY --from=build-cpu /opt/escoita /opt/escoita
