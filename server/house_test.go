package server_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// These tests keep the shape of the house: who imports whom, what lies where,
// and the few habits that a reader can rely on in every package.

const module = "tollgate"

// mayImport is the import directions, strictly downward. A package that is not
// here is not part of the house: give it its place before writing it.
var mayImport = map[string][]string{
	".":                        {"server/cli"},
	"server/cli":               {"server", "tui", "server/api", "server/config", "ledger"},
	"tui":                      {"server/api", "tui/quiet"},
	"tui/quiet":                {},
	"server":                   {"server/config", "server/pricing", "server/admission", "server/gateway", "server/billing", "server/stripe", "server/stripe/stripetest", "server/mail", "server/webhook", "server/api", "server/web", "server/sample", "ledger"},
	"server/gateway":           {"server/admission", "server/pricing", "ledger"},
	"server/billing":           {"server/pricing", "ledger"},
	"server/api":               {"server/admission", "server/pricing", "ledger"},
	"server/web":               {"server/admission", "server/pricing", "ledger"},
	"server/stripe":            {"server/billing", "ledger"},
	"server/stripe/stripetest": {},
	"server/mail":              {"server/billing", "ledger"},
	"server/webhook":           {"server/billing", "ledger"},
	"server/admission":         {"server/pricing", "ledger"},
	"server/config":            {"server/pricing", "ledger"},
	"server/pricing":           {"ledger"},
	"server/sample":            {},
	"ledger":                   {},
	"ledger/ledgertest":        {"ledger"},
}

// onlyIn names the one package, with its tests, that may import a module.
var onlyIn = map[string]string{
	"go.etcd.io/bbolt":            "ledger",
	"github.com/stripe/stripe-go": "server/stripe",
	"github.com/go-co-op/gocron":  "server/billing",
}

// neverIn names what a package must do without: ledger and pricing are told the
// time, speak to nobody and log nothing.
var neverIn = map[string][]string{
	"ledger":         {"net/http", "log", "log/slog"},
	"server/pricing": {"net/http", "net", "os", "log", "log/slog"},
}

// ledgerDependencies is all that the ledger builds on beside the standard library.
var ledgerDependencies = []string{"go.etcd.io/bbolt", "golang.org/x/sys"}

// sourcePackage is what `go list` tells of a package.
type sourcePackage struct {
	ImportPath   string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// place is the package's folder below the top of the tree.
func (p sourcePackage) place() string {
	if p.ImportPath == module {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, module+"/")
}

func listPackages(t *testing.T) []sourcePackage {
	t.Helper()
	command := exec.Command("go", "list", "-e", "-json=ImportPath,GoFiles,Imports,TestImports,XTestImports", "./...")
	command.Dir = ".."
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []sourcePackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p sourcePackage
		switch err := decoder.Decode(&p); err {
		case nil:
			list = append(list, p)
		case io.EOF:
			return list
		default:
			t.Fatalf("reading go list: %v", err)
		}
	}
}

func TestImportsPointDownward(t *testing.T) {
	for _, p := range listPackages(t) {
		allowed, known := mayImport[p.place()]
		if !known {
			t.Errorf("package %s has no place in the house", p.place())
			continue
		}
		for _, imported := range p.Imports {
			if below, ours := strings.CutPrefix(imported, module+"/"); ours && !slices.Contains(allowed, below) {
				t.Errorf("%s imports %s; it may import %v", p.place(), below, allowed)
			}
			if slices.Contains(neverIn[p.place()], imported) {
				t.Errorf("%s imports %s, which it must do without", p.place(), imported)
			}
			if p.place() == "ledger" && isModule(imported) && !startsWithAny(imported, ledgerDependencies) {
				t.Errorf("ledger imports %s; it builds on the standard library and %v", imported, ledgerDependencies)
			}
		}
	}
}

func TestModulesWithOneImporter(t *testing.T) {
	for _, p := range listPackages(t) {
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			for name, place := range onlyIn {
				if strings.HasPrefix(imported, name) && p.place() != place {
					t.Errorf("%s imports %s; only %s may", p.place(), imported, place)
				}
			}
		}
	}
}

func isModule(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return strings.Contains(first, ".")
}

func startsWithAny(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(s, prefix) })
}

func TestEveryPackageHasDoc(t *testing.T) {
	for _, p := range listPackages(t) {
		if p.place() != "." && len(p.GoFiles) > 0 && !slices.Contains(p.GoFiles, "doc.go") {
			t.Errorf("%s has no doc.go", p.place())
		}
	}
}

func TestTopLevelIsFixed(t *testing.T) {
	fixed := []string{"main.go", "ledger", "server", "tui", "systemd", "config.example.toml", "go.mod", "go.sum", "README.md", "LICENSE"}
	for _, name := range topLevel(t) {
		if !strings.HasPrefix(name, ".") && !slices.Contains(fixed, name) {
			t.Errorf("%s does not belong on the top level", name)
		}
	}
}

// topLevel names what lies on the top level, without what git ignores where the
// tree is a git checkout.
func topLevel(t *testing.T) []string {
	t.Helper()
	var names []string
	command := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	command.Dir = ".."
	if out, err := command.Output(); err == nil && len(out) > 0 {
		for file := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
			name, _, _ := strings.Cut(file, "/")
			names = append(names, name)
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// source is a parsed Go file.
type source struct {
	name  string // below the top of the tree, with slashes
	lines int
	file  *ast.File
	set   *token.FileSet
}

func (s source) test() bool    { return strings.HasSuffix(s.name, "_test.go") }
func (s source) place() string { return path.Dir(s.name) }

func (s source) at(n ast.Node) string { return s.set.Position(n.Pos()).String() }

func sources(t *testing.T) []source {
	t.Helper()
	var list []source
	set := token.NewFileSet()
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != ".." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		below := filepath.ToSlash(strings.TrimPrefix(name, ".."+string(filepath.Separator)))
		file, err := parser.ParseFile(set, below, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		list = append(list, source{name: below, lines: bytes.Count(text, []byte("\n")), file: file, set: set})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestFilesStayShort(t *testing.T) {
	for _, s := range sources(t) {
		limit := 700
		if s.name == "main.go" {
			limit = 50
		}
		if s.lines > limit {
			t.Errorf("%s has %d lines, more than %d: it has grown past one subject", s.name, s.lines, limit)
		}
	}
}

// exactPlaces is where money is counted; floatsAllowed names their files that
// may use floats for something that is not money.
var (
	exactPlaces   = []string{"ledger", "server/pricing", "server/billing"}
	floatsAllowed = map[string]string{}
)

func TestNoFloatTouchesMoney(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() || !slices.Contains(exactPlaces, s.place()) || floatsAllowed[s.name] != "" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && (id.Name == "float64" || id.Name == "float32") {
				t.Errorf("%s: %s in a package that counts money", s.at(n), id.Name)
			}
			return true
		})
	}
}

// TestTestsNeitherWaitNorSkip keeps the tests quick and complete. Sleeping is
// free inside a synctest bubble and is allowed there; what rapid skips is one
// action of many.
func TestTestsNeitherWaitNorSkip(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test() {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			switch of, name := selector(call.Fun); {
			case of == "synctest" && name == "Test":
				return false
			case of == "time" && name == "Sleep":
				t.Errorf("%s: a test sleeps; use testing/synctest, a channel or the injected clock", s.at(n))
			}
			return true
		})
		ast.Walk(skips{t, s, nil}, s.file)
	}
}

// skips finds calls of Skip on what a function got as a *testing.T or the like.
type skips struct {
	t       *testing.T
	source  source
	testing []string // names of such parameters in force
}

func (v skips) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.FuncDecl:
		return v.with(n.Type)
	case *ast.FuncLit:
		return v.with(n.Type)
	case *ast.CallExpr:
		if of, name := selector(n.Fun); strings.HasPrefix(name, "Skip") && slices.Contains(v.testing, of) {
			v.t.Errorf("%s: a test skips; what is needed must be there", v.source.at(n))
		}
	}
	return v
}

// with is v inside a function: its parameters hide those of the functions around.
func (v skips) with(f *ast.FuncType) skips {
	names := slices.Clone(v.testing)
	for _, p := range f.Params.List {
		kind := p.Type
		if pointer, ok := kind.(*ast.StarExpr); ok {
			kind = pointer.X
		}
		for _, id := range p.Names {
			names = slices.DeleteFunc(names, func(name string) bool { return name == id.Name })
			if of, ok := kind.(*ast.SelectorExpr); ok {
				if in, ok := of.X.(*ast.Ident); ok && in.Name == "testing" {
					names = append(names, id.Name)
				}
			}
		}
	}
	v.testing = names
	return v
}

func selector(fun ast.Expr) (of, name string) {
	s, ok := fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	id, ok := s.X.(*ast.Ident)
	if !ok {
		return "", ""
	}
	return id.Name, s.Sel.Name
}

func TestNoInitFunctions(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" && !s.test() {
				t.Errorf("%s: init() acts before anyone asked; do it where it is called", s.at(f))
			}
		}
	}
}

// TestTimeIsPassedIn: where time decides about money or limits it is an
// argument; the clock is read in the packages that wire the program.
func TestTimeIsPassedIn(t *testing.T) {
	told := []string{"ledger", "server/pricing", "server/admission", "server/billing"}
	for _, s := range sources(t) {
		if s.test() || !slices.Contains(told, s.place()) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if of, name := selector(call.Fun); of == "time" && (name == "Now" || name == "Since" || name == "Until") {
					t.Errorf("%s: time.%s in a package that is told the time", s.at(n), name)
				}
			}
			return true
		})
	}
}
