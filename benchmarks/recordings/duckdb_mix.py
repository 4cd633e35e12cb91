"""The program of the duckdb-mix recording: two tables in memory; scans, joins and point lookups over them.

python duckdb_mix.py ROWS ROUNDS THREADS
"""

from __future__ import annotations

import sys

import duckdb

QUERIES = (
    "select status, sum(price * (1 - discount)), avg(quantity) from item where day < 1500 group by status",
    "select c.segment, count(*), sum(i.price) from item i join customer c on i.customer = c.id "
    "where i.day between 200 and 500 group by c.segment",
    "select customer, sum(price) as total from item where day > 1800 "
    "group by customer order by total desc limit 10",
)


def main(rows: int, rounds: int, threads: int) -> None:
    db = duckdb.connect(config={"threads": threads})
    db.execute(
        f"create table customer as select i as id, hash(i) % 5 as segment, 'customer ' || i as name "
        f"from range({rows // 20}) t(i)"
    )
    db.execute(
        f"create table item as select hash(i) % {rows // 20} as customer, "
        "(hash(i + 1) % 10000) / 100.0 as price, "
        f"(hash(i + 2) % 10) / 100.0 as discount, hash(i + 3) % 50 as quantity, i * 2000 // {rows} as day, "
        f"hash(i + 4) % 3 as status from range({rows}) t(i)"
    )
    for round_ in range(rounds):
        for query in QUERIES:
            db.execute(query).fetchall()
        for lookup in range(20):
            key = (round_ * 7919 + lookup * 104729) % (rows // 20)
            db.execute("select name from customer where id = ?", [key]).fetchall()


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:4]))
