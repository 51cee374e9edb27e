"""Google Sheets as an endpoint, over the Sheets v4 and Drive v3 APIs. See docs/sheets.md."""
