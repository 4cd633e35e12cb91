"""The promotion rate in figures computed by hand: the token bucket and the ping-pong guard that takes from it."""

from __future__ import annotations

import pytest

from pghot.policies.bucket import TokenBucket
from pghot.policies.pingpong import PingPongGuard

MS = 1_000_000  # ns


def test_time_earns_mib_and_a_bucket_starts_empty():
    bucket = TokenBucket(2.0, 500 * MS)
    assert bucket.bytes_now() == 0
    bucket.refill(750 * MS)
    assert bucket.bytes_now() == 524_288  # 2 * 2**20 * 0.25 s
    bucket.spend(500_000)
    assert bucket.bytes_now() == 24_288
    bucket.refill(751 * MS)
    assert bucket.bytes_now() == 26_385  # 24288 + 2 * 2**20 * 0.001 = 24288 + 2097.152


def test_what_a_long_round_earned_is_kept_and_what_it_left_over_is_not():
    bucket = TokenBucket(1.0, 0)
    bucket.refill(10_000 * MS)
    assert bucket.bytes_now() == 10_485_760  # ten seconds at 1 MiB/s
    bucket.refill(10_250 * MS)
    # Half a second's worth and a page stay: 524288 + 4096; and 262144 are earned.
    assert bucket.bytes_now() == 790_528


def test_another_burst_keeps_another_share():
    bucket = TokenBucket(1.0, 0, burst_s=2.0)
    bucket.refill(10_000 * MS)
    bucket.refill(10_000 * MS)
    assert bucket.bytes_now() == 2_101_248  # 2 * 2**20 + 4096


def test_a_slow_rate_saves_up_for_a_page():
    bucket = TokenBucket(0.001, 0)  # 1048.576 bytes a second; half a second's worth is 524.288
    for second in (1, 2, 3, 4):
        bucket.refill(second * 1000 * MS)
    assert bucket.bytes_now() == 4194  # 4 * 1048.576: more than a page after four seconds
    for second in range(5, 10):
        bucket.refill(second * 1000 * MS)
    assert bucket.bytes_now() == 5668  # 524.288 + 4096 kept, + 1048.576


def test_a_debt_is_paid_first():
    bucket = TokenBucket(1.0, 0)
    bucket.refill(500 * MS)
    bucket.spend(1_048_576)
    assert bucket.bytes_now() == 0
    bucket.refill(1000 * MS)
    assert bucket.bytes_now() == 0  # 524288 - 1048576 + 524288
    bucket.refill(1001 * MS)
    assert bucket.bytes_now() == 1048


def test_a_clock_that_goes_back_takes_nothing():
    bucket = TokenBucket(1.0, 1000 * MS)
    bucket.refill(1250 * MS)
    bucket.refill(1000 * MS)
    assert bucket.bytes_now() == 262_144
    bucket.refill(1100 * MS)
    assert bucket.bytes_now() == 367_001  # + 0.1 s


def feed(guard: PingPongGuard, *periods: tuple[int, int], start_ms: int = 0) -> list[float]:
    """Share after each period of 1000 ms with so many promoted, so many of them demoted before."""
    shares, up, back = [], 0, 0
    for number, (promoted, returned) in enumerate(periods, 1):
        up, back = up + promoted, back + returned
        guard.tick(start_ms + 1000 * number, up, back)
        shares.append(guard.share)
    return shares


BAD, GOOD, FEW = (100, 51), (100, 50), (63, 63)


def test_three_bad_periods_in_a_row_halve_the_share():
    assert feed(PingPongGuard(0), BAD, BAD, BAD, BAD, BAD, BAD) == [1, 1, 0.5, 0.5, 0.5, 0.25]


def test_a_good_period_begins_the_count_anew_and_doubles_the_share():
    assert feed(PingPongGuard(0), BAD, BAD, GOOD, BAD, BAD, BAD, GOOD, GOOD) == [1, 1, 1, 1, 1, 0.5, 1, 1]


def test_few_promotions_say_nothing_and_interrupt_nothing():
    assert feed(PingPongGuard(0), BAD, BAD, FEW, FEW, BAD) == [1, 1, 1, 1, 0.5]


def test_how_few_goes_with_the_share():
    # At a half 32 are enough: 2 * 17 > 32 is bad, 31 say nothing; 64 are enough at one.
    assert feed(PingPongGuard(0), BAD, BAD, BAD, (32, 17), (31, 31), (32, 17), (32, 17))[3:] == [
        0.5,
        0.5,
        0.5,
        0.25,
    ]
    assert feed(PingPongGuard(0), (64, 33), (64, 33), (64, 33)) == [1, 1, 0.5]


def test_the_share_ends_at_a_sixty_fourth():
    shares = feed(PingPongGuard(0), *[BAD] * 24)
    assert shares[17:] == [1 / 64] * 7  # 2**-6 after 18 periods
    assert shares[14] == 1 / 32


def test_a_period_is_a_second_since_the_last_one():
    guard = PingPongGuard(500)
    for now_ms, up in ((1499, 100), (1500, 200), (2499, 300), (2500, 400), (3499, 500), (3500, 600)):
        guard.tick(now_ms, up, up)
    assert guard.share == 0.5  # three bad periods: at 1500, 2500 and 3500
    early = PingPongGuard(500)
    for now_ms in (1499, 2498, 3499, 4498):
        early.tick(now_ms, now_ms, now_ms)
    assert early.share == 1  # periods at 2498 and 4498 only


@pytest.mark.parametrize("returned, share", [(50, 1.0), (51, 0.5)])
def test_half_of_the_promoted_is_still_good(returned, share):
    assert feed(PingPongGuard(0), *[(100, returned)] * 3)[-1] == share


def test_where_a_page_stands_for_many_a_slow_rate_saves_up_for_that_much():
    bucket = TokenBucket(
        1.0, 0, page_bytes=4 << 20
    )  # 1 MiB a second; half a second's worth and 4 MiB are kept
    for second in range(1, 8):
        bucket.refill(second * 1000 * MS)
    assert bucket.bytes_now() == 5_767_168  # 4.5 MiB kept, + 1 MiB
