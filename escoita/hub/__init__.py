"""How anything is written to the Hub: what a token may do, one commit or nothing, and what never leaves a machine."""
