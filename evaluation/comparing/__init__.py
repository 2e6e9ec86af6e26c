"""Two results side by side: better or worse, reproduced or not; and does a leaderboard hold."""
