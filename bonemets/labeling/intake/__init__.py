"""Where studies come from: folders, files and DICOMweb archives."""
