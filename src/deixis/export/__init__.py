"""Write a system as ONNX or OpenVINO files, which `deixis.load` runs without PyTorch."""
