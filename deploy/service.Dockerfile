# The service: HTTP and the engine. Build from the repository's root, for a CPU or for CUDA:
#   docker build -f deploy/service.Dockerfile --target cpu -t burnish-service .
#   docker build -f deploy/service.Dockerfile --target cuda -t burnish-service:cuda .
ARG PYTHON=3.11

# The compiled decoder (and the trainer's steps), built where there is a compiler.
FROM python:${PYTHON} AS kernels
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY service service
COPY trainer trainer
RUN pip install "setuptools>=77" && python -c "from setuptools import setup; setup()" build_ext --inplace

FROM python:${PYTHON}-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 BURNISH_DATA_FOLDER=/data BURNISH_HOST=0.0.0.0
WORKDIR /app
RUN useradd --create-home burnish && mkdir /data && chown burnish /data
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY feedback feedback
COPY service service
COPY trainer trainer
COPY migrations migrations
EXPOSE 8400
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8400/health/ready', timeout=4)"]
CMD ["python", "-m", "service"]

FROM base AS cpu
COPY --from=kernels /app/service/engines/local/native/ service/engines/local/native/
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)" && pip install -c constraints.txt -e .
USER burnish

FROM base AS cuda
ARG TORCH_INDEX=https://download.pytorch.org/whl/cu130
RUN pip install --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)" && pip install -c constraints.txt -e .
USER burnish
