"""Judge containers that segment medical images: run, score, rank, report.

Each stage is a sub-command that reads files and writes files, so that any of them can be repeated
alone::

    run      running/   teams x cases -> RUN/<team>/{team.json, records.jsonl, masks/, logs/}
    score    scoring/   masks + truth -> RUN/<team>/{scores.csv, labels.csv}, by metrics/
    rank     ranking/   scores        -> rank.json, leaderboard.{csv, md}
    report   report/    csv and json  -> report.html
    compare, reproduce, verify
             comparing/ two results   -> {compare, reproduce, verify}.{json, csv, txt}
    export   exporting/ scores        -> what Codabench, Grand Challenge, challengeR take
    check    checking/  one image     -> verdicts, before a run counts

Nothing here is imported by the submissions, and nothing of theirs is imported here: the harness
judges any container that keeps the file contract of the CVPR 2024 challenge.
"""

__version__ = "0.1.0"
