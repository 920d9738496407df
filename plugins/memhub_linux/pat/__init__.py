"""Page attributes: which mode each stretch of addresses is mapped with (Linux `mm/pat`)."""
