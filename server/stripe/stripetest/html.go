package stripetest

import "html/template"

// newTemplates are the pages. They work without script and in any browser.
func newTemplates() *template.Template {
	return template.Must(template.New("").Parse(pageHTML))
}

const pageHTML = `
{{define "top"}}<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{{.Title}} - Sandbox</title>
<style>
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 36rem; padding: 0 1rem 3rem }
.sandbox { background: #fff3c4; border: 1px solid #b7791f; color: #3d2b00; margin: 1rem 0; padding: .6rem .9rem }
.error { background: #fde8e8; border: 1px solid #b91c1c; color: #5f1010; margin: 1rem 0; padding: .6rem .9rem }
table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid #8886; padding: .4rem 0; text-align: left; vertical-align: top }
td.amount, th.amount { text-align: right; white-space: nowrap }
fieldset { border: 1px solid #8886; margin: 1rem 0; padding: .6rem .9rem }
label { display: block; padding: .2rem 0 }
button { font: inherit; padding: .5rem 1rem }
form.inline { display: inline }
</style>
</head>
<body>
<p class="sandbox" role="note"><strong>Sandbox.</strong> This is not a real payment page: no money moves. Never enter a real card number.</p>
<main>
<h1>{{.Title}}</h1>
{{with .Email}}<p>{{.}}</p>{{end}}
{{with .Error}}<p class="error" role="alert">{{.}}</p>{{end}}
{{end}}

{{define "end"}}
{{if .Back}}<p><a id="back" href="{{.Back}}">{{.BackText}}</a></p>{{end}}
</main>
</body>
</html>
{{end}}

{{define "rows"}}{{if .Rows}}
<table>
<thead><tr><th>Description</th><th class="amount">Amount</th></tr></thead>
<tbody>{{range .Rows}}<tr><td>{{.Text}}</td><td class="amount">{{.Amount}}</td></tr>
{{end}}</tbody>
<tfoot><tr><th>Total</th><th class="amount">{{.Total}}</th></tr></tfoot>
</table>
{{end}}{{end}}

{{define "cards"}}
{{if .Confirm}}
<form method="post" id="confirm">
<input type="hidden" name="card" value="{{.Confirm}}">
<input type="hidden" name="action" value="add">
<p>The bank of this test card asks: is it really you?</p>
<p><button name="confirm" value="yes" id="yes">Yes, confirm</button>
<button name="confirm" value="no" id="no">No, refuse</button></p>
</form>
{{else}}
<form method="post" id="card">
<input type="hidden" name="action" value="add">
<fieldset>
<legend>Test card</legend>
{{range .Cards}}<label><input type="radio" name="card" value="{{.Value}}"{{if .Default}} checked{{end}}> {{.Text}}</label>
{{end}}</fieldset>
<p><button id="submit">{{.Button}}</button></p>
</form>
{{end}}{{end}}

{{define "pay"}}{{template "top" .}}{{template "rows" .}}
{{if .Note}}<p id="note">{{.Note}}</p>{{else}}{{template "cards" .}}{{end}}
{{template "end" .}}{{end}}

{{define "invoice"}}{{template "top" .}}{{template "rows" .}}
<p><a href="{{.PDF}}">As PDF</a></p>
{{if .Note}}<p id="note"><strong>{{.Note}}</strong></p>{{else}}{{template "cards" .}}{{end}}
{{template "end" .}}{{end}}

{{define "portal"}}{{template "top" .}}
<h2>Cards</h2>
{{if .Saved}}<table><tbody>
{{range .Saved}}<tr><td>{{.Text}}{{if .Default}} (used for invoices){{end}}</td><td class="amount">
{{if not .Default}}<form method="post" class="inline"><input type="hidden" name="method" value="{{.Value}}"><button name="action" value="default">Use</button></form>{{end}}
<form method="post" class="inline"><input type="hidden" name="method" value="{{.Value}}"><button name="action" value="remove">Remove</button></form>
</td></tr>
{{end}}</tbody></table>{{else}}<p>There is no card.</p>{{end}}
<h2>Add a card</h2>
{{template "cards" .}}
<h2>Invoices</h2>
{{if .Invoices}}<table>
<thead><tr><th>Number</th><th>State</th><th class="amount">Total</th></tr></thead>
<tbody>{{range .Invoices}}<tr><td><a href="{{.Link}}">{{.Text}}</a></td><td>{{.State}}</td><td class="amount">{{.Amount}}</td></tr>
{{end}}</tbody></table>{{else}}<p>There is no invoice.</p>{{end}}
{{template "end" .}}{{end}}

{{define "missing"}}{{template "top" .}}<p>There is no such page, or it is too old.</p>{{template "end" .}}{{end}}
`
