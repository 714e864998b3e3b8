package ledger

import (
	"encoding/base32"
	"fmt"
	"time"
)

// RequestID is known before a call is made and names its record. It is the
// time of admission in milliseconds and a counter, so that the record is found
// by seeking to that time; no index is kept.
type RequestID struct {
	milli   int64
	counter uint32
}

var requestEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

const requestPrefix = "req_"

// NewRequestID makes the id of a call admitted at t; counter tells calls of one
// millisecond apart and keeps its lowest 24 bits.
func NewRequestID(t time.Time, counter uint32) RequestID {
	return RequestID{t.UnixMilli(), counter & 0xffffff}
}

// Time is when the call was admitted, to the millisecond, in UTC.
func (id RequestID) Time() time.Time { return time.UnixMilli(id.milli).UTC() }

// String is "req_" and 15 characters.
func (id RequestID) String() string {
	var text [len(requestPrefix) + 15]byte
	return string(id.AppendText(text[:0]))
}

// AppendText appends the id as String has it.
func (id RequestID) AppendText(b []byte) []byte {
	raw := [9]byte{byte(id.milli >> 40), byte(id.milli >> 32), byte(id.milli >> 24), byte(id.milli >> 16), byte(id.milli >> 8), byte(id.milli),
		byte(id.counter >> 16), byte(id.counter >> 8), byte(id.counter)}
	return requestEncoding.AppendEncode(append(b, requestPrefix...), raw[:])
}

// ParseRequestID reads what String wrote.
func ParseRequestID(s string) (RequestID, error) {
	if len(s) == len(requestPrefix)+15 && s[:len(requestPrefix)] == requestPrefix {
		if raw, err := requestEncoding.DecodeString(s[len(requestPrefix):]); err == nil && len(raw) == 9 { // line breaks are skipped
			var milli int64
			for _, b := range raw[:6] {
				milli = milli<<8 | int64(b)
			}
			id := RequestID{milli, uint32(raw[6])<<16 | uint32(raw[7])<<8 | uint32(raw[8])}
			if id.String() == s {
				return id, nil
			}
		}
	}
	return RequestID{}, fmt.Errorf("%q is not a request id such as \"req_%015d\"", s, 0)
}
