# The server of deixis on a CPU, with the bundled model. tests/server/test_dockerfile.py runs these steps.
#   docker build -t deixis .
#   docker run -p 127.0.0.1:8000:8000 -e DEIXIS_TOKEN=$(openssl rand -hex 16) deixis
FROM python:3.11-slim
WORKDIR /opt/deixis
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY src src
RUN python -m venv venv
RUN venv/bin/pip install --no-cache-dir --constraint requirements.lock ".[serve,video]"
RUN useradd --system --no-create-home deixis
USER deixis
EXPOSE 8000
HEALTHCHECK CMD ["venv/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live')"]
CMD ["venv/bin/deixis", "serve", "--host", "0.0.0.0"]
