"""CT of the same patients: tissues, bones and lesions on axial slices."""
