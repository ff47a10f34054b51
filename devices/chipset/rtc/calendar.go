package rtc

import "time"

// Offsets in the clock's memory (MC146818A, figure 11).
const (
	Seconds      = 0x00
	SecondsAlarm = 0x01
	Minutes      = 0x02
	MinutesAlarm = 0x03
	Hours        = 0x04
	HoursAlarm   = 0x05
	DayOfWeek    = 0x06
	DayOfMonth   = 0x07
	Month        = 0x08
	Year         = 0x09
	RegisterA    = 0x0a
	RegisterB    = 0x0b
	RegisterC    = 0x0c
	RegisterD    = 0x0d
	Century      = 0x32 // the PC's convention; the ACPI FADT names it
)

// isTime tells whether the byte at i shows the date and time.
func isTime(i uint8) bool {
	switch i {
	case Seconds, Minutes, Hours, DayOfWeek, DayOfMonth, Month, Year, Century:
		return true
	}
	return false
}

// A format is how numbers look in the clock's memory: register B's DM and 24/12.
type format struct{ binary, h24 bool }

func (f format) encode(n int) uint8 {
	if f.binary {
		return uint8(n)
	}
	return uint8(n/10<<4 | n%10)
}

func (f format) decode(v uint8) int {
	if f.binary {
		return int(v)
	}
	return int(v>>4)*10 + int(v&15)
}

const pm = 0x80 // afternoon, in 12-hour mode

func (f format) encodeHour(h int) uint8 {
	if f.h24 {
		return f.encode(h)
	}
	v := f.encode((h+11)%12 + 1)
	if h >= 12 {
		v |= pm
	}
	return v
}

func (f format) decodeHour(v uint8) int {
	if f.h24 {
		return f.decode(v)
	}
	h := f.decode(v&^pm) % 12
	if v&pm != 0 {
		h += 12
	}
	return h
}

// date breaks seconds down; they count from 1970 in the guest's own time zone.
func date(sec int64) time.Time { return time.Unix(sec, 0).UTC() }

// naive is a wall time's nanoseconds since 1970 as if its time zone were UTC: what
// a clock that knows no time zones shows.
func naive(t time.Time) int64 {
	_, zone := t.Zone()
	return t.UnixNano() + int64(zone)*second
}

// show writes the time into the clock's memory. turn is by how much the day of
// the week differs from the calendar's.
func (f format) show(m *[memory]uint8, sec int64, turn int) {
	t := date(sec)
	m[Seconds] = f.encode(t.Second())
	m[Minutes] = f.encode(t.Minute())
	m[Hours] = f.encodeHour(t.Hour())
	m[DayOfWeek] = f.encode((int(t.Weekday())+turn)%7 + 1)
	m[DayOfMonth] = f.encode(t.Day())
	m[Month] = f.encode(int(t.Month()))
	m[Year] = f.encode(t.Year() % 100)
	m[Century] = f.encode(t.Year() / 100)
}

// Years that the clock keeps; a century byte outside them counts as this one.
const (
	minCentury, maxCentury, thisCentury = 19, 21, 20
)

// parse reads the time from the clock's memory. Fields out of range carry over
// into the next, so that any content is some time.
func (f format) parse(m *[memory]uint8) (sec int64, turn int) {
	century := f.decode(m[Century])
	if century < minCentury || century > maxCentury {
		century = thisCentury
	}
	t := time.Date(century*100+f.decode(m[Year])%100, time.Month(f.decode(m[Month])), f.decode(m[DayOfMonth]),
		f.decodeHour(m[Hours]), f.decode(m[Minutes]), f.decode(m[Seconds]), 0, time.UTC)
	turn = (f.decode(m[DayOfWeek])-1-int(t.Weekday()))%7 + 7
	return t.Unix(), turn % 7
}

// anyValue in an alarm byte (its two top bits set) matches every value.
const anyValue = 0xc0

// nextAlarm returns the first second after sec at which the alarm bytes match,
// if there is one on any day. Bytes are compared as they are in memory.
func (f format) nextAlarm(m *[memory]uint8, sec int64) (int64, bool) {
	match := func(alarm uint8, v uint8) bool { return alarm&anyValue == anyValue || alarm == v }
	const day = 24 * 3600
	start := sec + 1
	for at := start; at <= start+day; {
		s := int(((at % day) + day) % day)
		switch {
		case !match(m[HoursAlarm], f.encodeHour(s/3600)):
			at += int64(3600 - s%3600)
		case !match(m[MinutesAlarm], f.encode(s/60%60)):
			at += int64(60 - s%60)
		case !match(m[SecondsAlarm], f.encode(s%60)):
			at++
		default:
			return at, true
		}
	}
	return 0, false
}
