package alert

import "time"

// Evidence is what an attempt showed, for the words of an alert. Everything may be empty.
type Evidence struct {
	// Detail says what happened and where; Advice what to do, and who must do it.
	Detail, Advice string
	// Trace is the W3C trace id of the attempt, 32 hex digits.
	Trace string
	// Server is the certificate that the receiver presented.
	Server *Party
}

// Party is one side's certificate. Its JSON form is that of a receipt's proof.
type Party struct {
	Subject string `json:"subject"`
	Issuer  string `json:"issuer"`
	// Names holds the subject alternative names.
	Names    []string  `json:"names,omitempty"`
	NotAfter time.Time `json:"not_after"`
	// Fingerprints holds the hex SHA-256 of each certificate of the chain, leaf first.
	Fingerprints []string `json:"fingerprints"`
}

// persistence is how long something must last before it is news.
type persistence struct {
	settle time.Duration // trouble, before it is told
	quiet  time.Duration // health without any trouble, before it is told
}

// often is how many troubled attempts in one trouble are news although others succeed in between, as they do when one
// of several servers behind a balancer is set up wrongly.
const often = 3

// tracker turns the attempts of one endpoint into changes of condition. It is a pure state machine: the desk tells it
// what was seen and asks it what is true at a time.
type tracker struct {
	// told is the condition that the deployment has been told of; the zero Condition is not known yet.
	told Condition

	first     time.Time // the first trouble since the last quiet time; zero without trouble
	streak    time.Time // the first trouble since the last success
	condition Condition // of the latest trouble
	changed   time.Time // since when trouble has been of that condition
	count     int       // attempts in trouble since first, up to often
	bad       time.Time // the latest trouble
	good      time.Time // the first success since the last trouble; zero without one

	trouble, success Evidence // of the latest attempt of either kind
}

// see takes one attempt in. It reports whether the tracker may come to another decision sooner than it has said, so that
// the usual case, more of the same, costs nothing.
func (t *tracker) see(now time.Time, c Condition, e Evidence, p persistence) (news bool) {
	if !c.held() {
		news = t.good.IsZero()
		if news {
			t.good = now
			t.success = e
		}
		return news && (t.told.held() || !t.first.IsZero())
	}
	if t.first.IsZero() || t.calm(now, p) {
		t.first, t.streak, t.condition, t.changed, t.count = now, now, c, now, 0
		news = true
	}
	if !t.good.IsZero() {
		t.streak, t.good, news = now, time.Time{}, true
	}
	if c != t.condition {
		t.condition, t.changed, news = c, now, true
	}
	if t.count < often {
		t.count++
		news = true
	}
	t.trouble, t.bad = e, now
	return news
}

// calm reports whether the last trouble is long enough ago.
func (t *tracker) calm(now time.Time, p persistence) bool {
	return !t.good.IsZero() && !now.Before(t.good.Add(p.quiet))
}

// decide says what is true now and since when.
func (t *tracker) decide(now time.Time, p persistence) (Condition, time.Time) {
	switch {
	case t.calm(now, p):
		return Healthy, t.good
	case t.first.IsZero():
		return t.told, time.Time{}
	case t.told.held():
		if t.condition != t.told && t.good.IsZero() && !now.Before(t.changed.Add(p.settle)) {
			return t.condition, t.changed
		}
	default:
		lasting := t.good.IsZero() && !now.Before(t.streak.Add(p.settle))
		repeated := t.count >= often && !now.Before(t.first.Add(p.settle))
		if lasting || repeated {
			return t.condition, t.first
		}
	}
	return t.told, time.Time{}
}

// next returns when decide may say something else although nothing more is seen; zero when never.
func (t *tracker) next(now time.Time, p persistence) time.Time {
	var instants [3]time.Time
	if !t.good.IsZero() && (t.told.held() || !t.first.IsZero()) {
		instants[0] = t.good.Add(p.quiet)
	}
	switch {
	case t.first.IsZero():
	case t.told.held():
		if t.condition != t.told && t.good.IsZero() {
			instants[1] = t.changed.Add(p.settle)
		}
	default:
		if t.good.IsZero() {
			instants[1] = t.streak.Add(p.settle)
		}
		if t.count >= often {
			instants[2] = t.first.Add(p.settle)
		}
	}
	var soonest time.Time
	for _, at := range instants {
		if at.After(now) && (soonest.IsZero() || at.Before(soonest)) {
			soonest = at
		}
	}
	return soonest
}

// tell takes over what the deployment has been told, and since when it is so. What was seen here before that is out of
// date: another desk has seen more.
func (t *tracker) tell(c Condition, since, now time.Time, p persistence) {
	t.told = c
	switch {
	case c.held():
		if t.good.Before(since) {
			t.good = time.Time{} // the next success begins the quiet time
		}
	case t.calm(now, p) || !t.bad.After(since):
		t.first, t.streak, t.changed, t.bad, t.condition, t.count, t.trouble = time.Time{}, time.Time{}, time.Time{}, time.Time{}, 0, 0, Evidence{}
	}
}
