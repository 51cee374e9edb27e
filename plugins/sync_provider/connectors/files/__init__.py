"""CSV and Excel files below a declared root: discovery, atomic writing, text conventions, one connector for each format."""
