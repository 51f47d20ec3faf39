"""What became of an object between dates, with the probability that it is so.

A date tells of an object's place where its ground was seen: either the object was found there, or
it was missed. Ground that was not seen tells nothing, so nothing is ever gone for lack of a
picture, or under a cloud.

The probability follows Bayes' rule (as of Royle and Link 2006, "Generalized site occupancy models
allowing for false positive and false negative errors", Ecology 87(4), for places that are visited
several times):

- Found at a date: the object was there with the probability `s`, the calibrated score of the best
  view of that date (the precision of detections of that score).
- Missed at `k` dates, and there at another one: let it have been there with the prior probability
  `p` (`PRIOR_STAY`: it is as likely to be there as not). Where it is there, a date misses it with
  1 - r, where r is the recall of its class at the threshold; where it is not, every date finds
  nothing there. So it was there in spite of that with

      m(k) = p (1 - r)^k / (p (1 - r)^k + 1 - p).

Dates are taken as independent; several rasters of one date count as one trial, since they are
mostly one picture. Then

- stayed (found first and last): s_first s_last;
- appeared (missed at k dates before the first): s_first (1 - m(k));
- gone (missed at k dates after the last): s_last (1 - m(k));
- temporary (both): s (1 - m(k_before)) (1 - m(k_after)), with s = s_first s_last, or the one score.

With recall 1 a miss is a proof; with recall 0 it leaves the prior.
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
    """What each date tells of objects; one entry an object and date on which its ground was seen.

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
        status: one of `STATUSES`, "" where one date alone tells of the place.
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


def probability_missed(recall: Floats, n_missed: Ints, prior: float = PRIOR_STAY) -> Floats:
    """Return the probability (M,) that an object is there though it was missed at some dates.

    Args:
        recall: (M,) of its class, 0..1; NaN where not known.
        n_missed: (M,) dates on which its ground was seen without it; 0 gives the prior.
        prior: probability that it is there before any of them tells.
    """
    missed = prior * (1.0 - recall) ** n_missed
    return np.asarray(missed / (missed + 1.0 - prior))


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
    not_before = 1.0 - probability_missed(recall, n_before)
    not_after = 1.0 - probability_missed(recall, n_after)
    probability = np.full(count, np.nan)
    for name, value in (
        (STAYED, there),
        (APPEARED, score_first * not_before),
        (GONE, score_last * not_after),
        (TEMPORARY, there * not_before * not_after),
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
