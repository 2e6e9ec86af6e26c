"""Two results side by side: better or worse, reproduced or not, and is a leaderboard what it says."""
