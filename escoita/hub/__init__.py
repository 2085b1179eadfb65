"""Write to the Hub in one commit, check the rights of the token first, and refuse files that must not be published."""
