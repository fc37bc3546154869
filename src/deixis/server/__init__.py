"""The HTTP server: an API, a web page and a back end for Label Studio, with one model behind one queue."""
