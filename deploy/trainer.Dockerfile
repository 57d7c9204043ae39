# The trainer's worker, which trains in processes of its own. Build from the repository's root, for a CPU or for CUDA:
#   docker build -f deploy/trainer.Dockerfile --target cpu -t burnish-trainer .
#   docker build -f deploy/trainer.Dockerfile --target cuda -t burnish-trainer:cuda .
ARG PYTHON=3.11

# The trainer's compiled steps and the decoder that evaluates, built where there is a compiler.
FROM python:${PYTHON} AS kernels
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY service service
COPY trainer trainer
RUN pip install "setuptools>=77" && python -c "from setuptools import setup; setup()" build_ext --inplace

FROM python:${PYTHON}-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 BURNISH_DATA_FOLDER=/data
WORKDIR /app
RUN useradd --create-home burnish && mkdir /data && chown burnish /data
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY feedback feedback
COPY service service
COPY trainer trainer
COPY migrations migrations
CMD ["python", "-m", "trainer", "worker"]

FROM base AS cpu
COPY --from=kernels /app/service/engines/local/native/ service/engines/local/native/
COPY --from=kernels /app/trainer/compute/native/ trainer/compute/native/
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)" && pip install -c constraints.txt -e .
USER burnish

FROM base AS cuda
ARG TORCH_INDEX=https://download.pytorch.org/whl/cu130
RUN pip install --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)" && pip install -c constraints.txt -e ".[quantized]"
USER burnish
