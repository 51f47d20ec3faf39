"""What became of an object between dates, with the probability that it is so.

A date shows an object's place where its ground was seen: either the object was found there, or it
was missed. Ground that was not seen shows nothing, so nothing is ever gone for lack of a
picture, or under a cloud.

The probability follows Bayes' rule, with a recall and with false alarms at each visit (as site
occupancy models have them: Royle and Link 2006, Ecology 87(4), 835-841). What was found with the
calibrated score `s` is an object with the probability s. If it is one, it is also there at the
dates on one side of it with the prior probability p (`PRIOR_STAY`: as likely as not), and then each
of `k` dates misses it with 1 - r, where r is the recall of its class at the threshold. If it was
not there, or is a false alarm, all of them miss it for sure. Given that they all did, it was there
and is gone (or has appeared) with

    s (1 - p) / (1 - s + s (1 - p + p (1 - r)^k)).

With misses on both sides (temporary) there is a factor for each of them in numerator and
denominator. What was found first and last has stayed with s_first s_last, dates being independent.
`s` is the score nearest to the change: the first for what appeared, the last for what is gone.
Several rasters of one date count as one visit, since they are mostly one picture. With recall 1 a
miss leaves an object or a false alarm; with recall 0 it means nothing, which leaves s (1 - p).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from windhover.geometry.arrays import Bools, Floats, Ints

PRIOR_STAY = 0.5
APPEARED = "appeared"
GONE = "gone"
STAYED = "stayed"
TEMPORARY = "temporary"
STATUSES = (APPEARED, GONE, STAYED, TEMPORARY)
NO_DATE = -1  # number of a date that there is none of


class Observations(NamedTuple):
    """What each date shows of objects; one entry an object and date on which its ground was seen.

    Attributes:
        object_index: (K,) number of the object.
        date: (K,) number of the date, in the order of time.
        score: (K,) of the object's best view at that date; NaN where it was missed.
    """

    object_index: Ints
    date: Ints
    score: Floats


class Changes(NamedTuple):
    """What became of objects (M,).

    Attributes:
        status: one of `STATUSES`, "" where one date alone shows the place.
        probability: that it is so, 0..1; NaN where there is no status, or the recall is needed and
            not known.
        first: number of the date on which it was first found, `NO_DATE` for none.
        last: of that on which it was last found.
        absent_before: last date before `first` on which its ground was seen without it.
        absent_after: first date after `last` on which its ground was seen without it.
        dates_found: number of dates on which it was found.
    """

    status: NDArray[np.object_]
    probability: Floats
    first: Ints
    last: Ints
    absent_before: Ints
    absent_after: Ints
    dates_found: Ints


def probability_absent(
    score: Floats, recall: Floats, *n_missed: Ints, prior: float = PRIOR_STAY
) -> Floats:
    """Return the probability (M,) that detections are objects that were absent at other dates.

    Args:
        score: (M,) calibrated probability that it is an object, 0..1.
        recall: (M,) of its class, 0..1; NaN where not known.
        n_missed: (M,) dates on one side of it on which its ground was seen without it; several for
            several sides.
        prior: probability that an object is there too on a side, before any date is known.
    """
    absent = np.array(score, np.float64)
    missed = np.array(score, np.float64)
    for count in n_missed:
        absent *= 1.0 - prior
        missed *= 1.0 - prior + prior * (1.0 - recall) ** count
    return np.asarray(absent / (1.0 - score + missed))


def changes_of(seen: Observations, recall: Floats) -> Changes:
    """Return what became of objects by their observations.

    Args:
        seen: of all objects; each object and date once.
        recall: (M,) of each object's class at its threshold, NaN where not known.
    """
    count = len(recall)
    is_found = np.isfinite(seen.score)
    first, score_first = _ends(seen, is_found, count, last=False)
    last, score_last = _ends(seen, is_found, count, last=True)
    is_missed = ~is_found & (first[seen.object_index] != NO_DATE)
    missed = Observations(*(column[is_missed] for column in seen))
    is_before = missed.date < first[missed.object_index]
    is_after = missed.date > last[missed.object_index]
    before = missed.object_index[is_before]
    after = missed.object_index[is_after]
    absent_before = np.full(count, NO_DATE)
    np.maximum.at(absent_before, before, missed.date[is_before])
    far = np.iinfo(np.int64).max
    absent_after = np.full(count, far)
    np.minimum.at(absent_after, after, missed.date[is_after])
    absent_after[absent_after == far] = NO_DATE
    n_before = np.bincount(before, minlength=count)
    n_after = np.bincount(after, minlength=count)
    dates_found = np.bincount(seen.object_index[is_found], minlength=count)
    status = _status(n_before > 0, n_after > 0, dates_found)
    there = np.where(dates_found > 1, score_first * score_last, score_first)
    probability = np.full(count, np.nan)
    for name, value in (
        (STAYED, there),
        (APPEARED, probability_absent(score_first, recall, n_before)),
        (GONE, probability_absent(score_last, recall, n_after)),
        (TEMPORARY, probability_absent(there, recall, n_before, n_after)),
    ):
        probability[status == name] = value[status == name]
    return Changes(
        status=status,
        probability=probability,
        first=first,
        last=last,
        absent_before=absent_before,
        absent_after=absent_after,
        dates_found=dates_found,
    )


def _ends(seen: Observations, is_found: Bools, count: int, *, last: bool) -> tuple[Ints, Floats]:
    """Return first or last date (M,) on which objects were found, and the score of that date."""
    rows = np.flatnonzero(is_found)
    date = seen.date[rows]
    order = rows[np.lexsort((date, seen.object_index[rows]))]
    if not last:
        order = order[::-1]  # of equal places that are written to, the last one stays
    ends = np.full(count, NO_DATE)
    scores = np.full(count, np.nan)
    ends[seen.object_index[order]] = seen.date[order]
    scores[seen.object_index[order]] = seen.score[order]
    return ends, scores


def _status(
    is_absent_before: Bools, is_absent_after: Bools, dates_found: Ints
) -> NDArray[np.object_]:
    """Return the name of what became of objects (M,), "" where nothing is known."""
    status = np.full(len(dates_found), "", object)
    status[dates_found > 1] = STAYED
    status[is_absent_before] = APPEARED
    status[is_absent_after] = GONE
    status[is_absent_before & is_absent_after] = TEMPORARY
    status[dates_found == 0] = ""
    return status
