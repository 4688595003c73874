"""The bone scan: gamma camera, label maps and the study with two views."""
