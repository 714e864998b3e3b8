package gateway

import "tollgate/ledger"

// maxNumber is how many bytes of a number are looked at; a longer one is absurd.
const maxNumber = 32

// found says what stood where a quantity was looked for.
type found uint8

const (
	absent   found = iota
	null           // counts as absent in an answer
	good           // a quantity
	cut            // an array that did not end: its elements so far
	typed          // something that is no number, or no array to be counted
	negative       // below zero
	broken         // a number that is not whole
	absurd         // more than ledger.MaxQuantity
)

// said names what is wrong, to follow "the value at ... ".
func (f found) said() string {
	return [...]string{"is missing", "is null", "", "does not end", "is of the wrong type", "is negative", "is not a whole number", "is too large"}[f]
}

// result is what was found at a target.
type result struct {
	n    int64
	what found
}

// usable tells whether n is a quantity that was really seen.
func (r result) usable() bool { return r.what == good || r.what == cut }

// bad tells whether there is a value that no quantity can be.
func (r result) bad() bool { return r.what >= typed }

// whole reads a number as JSON writes it, so that 42, 42.0 and 4.2e1 are all
// 42. The text must be valid JSON grammar for a number; no float is involved,
// so that nothing is lost on the way.
func whole(text []byte) result {
	if len(text) > maxNumber {
		return result{what: absurd}
	}
	i, minus := 0, false
	if i < len(text) && text[i] == '-' {
		minus = true
		i++
	}
	var digits [maxNumber]byte
	n, power := 0, 0 // digits[:n] × 10^power
	fraction := false
	for ; i < len(text); i++ {
		c := text[i]
		if c == '.' {
			fraction = true
			continue
		}
		if c == 'e' || c == 'E' {
			power += exponent(text[i+1:])
			break
		}
		if fraction {
			power--
		}
		if n > 0 || c != '0' {
			digits[n] = c
			n++
		}
	}
	for n > 0 && digits[n-1] == '0' {
		n--
		power++
	}
	switch {
	case n == 0:
		return result{what: good}
	case minus:
		return result{what: negative}
	case power < 0:
		return result{what: broken}
	case n+power > 16: // more than v holds
		return result{what: absurd}
	}
	var v int64
	for _, c := range digits[:n] {
		v = v*10 + int64(c-'0')
	}
	for range power {
		v *= 10
	}
	if v > ledger.MaxQuantity {
		return result{what: absurd}
	}
	return result{n: v, what: good}
}

// exponent reads the digits after "e", saturating far beyond what matters.
func exponent(text []byte) int {
	sign, e := 1, 0
	for _, c := range text {
		switch {
		case c == '-':
			sign = -1
		case c == '+':
		case e < 100_000:
			e = e*10 + int(c-'0')
		}
	}
	return sign * e
}

// wholeText reads a quantity from a header field: the same numbers as in JSON,
// and nothing else.
func wholeText(s string) result {
	if len(s) > maxNumber {
		return result{what: absurd}
	}
	var buffer [maxNumber]byte
	text := buffer[:copy(buffer[:], s)]
	at := numStart
	for _, c := range text {
		if at = at.next(c); at == numBad {
			return result{what: typed}
		}
	}
	if !at.ends() {
		return result{what: typed}
	}
	return whole(text)
}

// numeral is a state in the grammar of JSON numbers.
type numeral uint8

const (
	numBad numeral = iota
	numStart
	numMinus
	numZero
	numInt
	numDot
	numFraction
	numE
	numSign
	numExponent
)

// ends tells whether a number may end here.
func (s numeral) ends() bool {
	return s == numZero || s == numInt || s == numFraction || s == numExponent
}

// next is the state after one more byte, numBad where it does not belong to the number.
func (s numeral) next(c byte) numeral {
	if '0' <= c && c <= '9' {
		switch s {
		case numStart, numMinus:
			if c == '0' {
				return numZero
			}
			return numInt
		case numInt, numFraction, numExponent:
			return s
		case numDot:
			return numFraction
		case numE, numSign:
			return numExponent
		}
		return numBad
	}
	switch c {
	case '-':
		switch s {
		case numStart:
			return numMinus
		case numE:
			return numSign
		}
	case '+':
		if s == numE {
			return numSign
		}
	case '.':
		if s == numZero || s == numInt {
			return numDot
		}
	case 'e', 'E':
		if s == numZero || s == numInt || s == numFraction {
			return numE
		}
	}
	return numBad
}
