"""Checkpoint → artefact: quantize a Hugging Face checkpoint to Int4 ONNX with SafeTensors weights."""
