# Two stages: torch exports the encoder and the corpus is indexed; then the index is served, without torch.
#
#   docker build -t podcast-rag . && docker run --rm -p 127.0.0.1:8000:8000 podcast-rag
#
# Other extras: --build-arg EXTRAS=llm,milvus,otel.

FROM python:3.11-slim AS build
WORKDIR /app
# Where pip would bring a CUDA build of torch: --build-arg TORCH_FROM="--index-url …" of one with CPU builds.
ARG TORCH_FROM=""
COPY requirements.lock ./
RUN pip install --no-cache-dir --constraint requirements.lock ${TORCH_FROM} torch
COPY pyproject.toml README.md LICENSE ./
COPY src src
ARG EXTRAS="llm,otel"
RUN pip install --no-cache-dir --constraint requirements.lock ".[build,${EXTRAS}]"
COPY corpus corpus
RUN rag index

FROM python:3.11-slim
WORKDIR /app
RUN useradd --system --uid 10001 --no-create-home rag
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY src src
ARG EXTRAS="llm,otel"
RUN pip install --no-cache-dir --constraint requirements.lock ".[${EXTRAS}]"
COPY --from=build /app/index index
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["rag"]
CMD ["serve", "--host", "0.0.0.0", "--log", "json"]
