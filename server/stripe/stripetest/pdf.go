package stripetest

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// pdf is an invoice as a plain PDF of as many pages as it takes: enough to be
// opened, not to be admired.
func (s *Server) pdf(o *Invoice) []byte {
	lines := []string{
		"Sandbox: no money moves.", "",
		"Invoice " + o.Number,
		"Date: " + time.Unix(o.StatusTransitions.FinalizedAt, 0).UTC().Format(time.DateOnly),
		"To: " + o.CustomerName + " " + o.CustomerEmail, "",
	}
	for _, i := range o.items {
		lines = append(lines, i.Description+": "+money(i.Amount, o.Currency))
	}
	lines = append(lines, "", "Total: "+money(o.Total, o.Currency), "State: "+o.Status)
	const perPage = 50
	var pages []string
	for len(lines) > 0 {
		n := min(len(lines), perPage)
		var b strings.Builder
		b.WriteString("BT /F1 11 Tf 50 790 Td 15 TL\n")
		for _, l := range lines[:n] {
			fmt.Fprintf(&b, "(%s) Tj T*\n", pdfText(l))
		}
		b.WriteString("ET\n")
		pages = append(pages, b.String())
		lines = lines[n:]
	}
	// Objects: 1 catalog, 2 pages, 3 font, then a page and its content in turns.
	objects := []string{"<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"}
	var kids strings.Builder
	for _, content := range pages {
		n := len(objects) + 1
		fmt.Fprintf(&kids, "%d 0 R ", n)
		objects = append(objects,
			fmt.Sprintf("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >> /Contents %d 0 R >>", n+1),
			fmt.Sprintf("<< /Length %d >>\nstream\n%sendstream", len(content), content))
	}
	objects[1] = fmt.Sprintf("<< /Type /Pages /Kids [%s] /Count %d >>", strings.TrimSpace(kids.String()), len(pages))
	var out bytes.Buffer
	out.WriteString("%PDF-1.4\n")
	var offsets []int
	for i, object := range objects {
		offsets = append(offsets, out.Len())
		fmt.Fprintf(&out, "%d 0 obj\n%s\nendobj\n", i+1, object)
	}
	start := out.Len()
	fmt.Fprintf(&out, "xref\n0 %d\n0000000000 65535 f \n", len(objects)+1)
	for _, at := range offsets {
		fmt.Fprintf(&out, "%010d 00000 n \n", at)
	}
	fmt.Fprintf(&out, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(objects)+1, start)
	return out.Bytes()
}

// pdfText is text as it stands between brackets in a PDF; what Latin-1 lacks is a
// question mark.
func pdfText(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '(' || r == ')' || r == '\\':
			b.WriteByte('\\')
			b.WriteByte(byte(r))
		case r < ' ' || r > 0xff || r >= 0x7f && r < 0xa0:
			b.WriteByte('?')
		default:
			b.WriteByte(byte(r))
		}
	}
	return b.String()
}
