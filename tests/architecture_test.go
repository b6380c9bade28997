// Package tests checks the shape of the whole repository. The rules of the
// design exist only as checks; this file holds those that no linter knows.
//
// The order of the file: the drawing of the packages, the rules, the rules'
// tools, how the module is read, and then the tests, which run every rule on the
// repository and on small sources that break or keep it. A rule that was never
// seen to fail is not believed.
package tests

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const modulePath = "github.com/handfast/handfast"

// drawing says which of our packages a package may import in production code.
// It is the picture of DESIGN.md, section 10, from the bottom up:
//
//	services/handfast ─▶ everything
//	services/signer, services/dispatcher ─▶ pkg, each without the other's secrets
//	stream ─▶ receipt ─▶ delivery ─▶ endpoint ─▶ event ─▶ schemas
//	receiver ─▶ signature, mtls
//	identity ─▶ seal, mtls      rotation, alert ─▶ endpoint      doctor ─▶ mtls      schema ─▶ event
//	signature ─▶ seal
//	seal, mtls, telemetry ─▶ nothing of ours
//
// A pattern is a path, a path with everything below it ("pkg/..."), or one of
// these taken away again ("!pkg/mtls/..."). A new package gets a line here, on
// purpose, or the test fails.
func drawing() map[string][]string {
	return map[string][]string{
		"schemas":       {},
		"pkg/telemetry": {},
		"pkg/seal":      {},
		"pkg/signature": {"pkg/seal"},
		"pkg/mtls":      {},
		"pkg/event":     {"schemas", "pkg/telemetry"},
		"pkg/schema":    {"pkg/event"},
		"pkg/endpoint":  {"schemas", "pkg/event"},
		"pkg/delivery":  {"pkg/event", "pkg/endpoint"},
		"pkg/receipt":   {"schemas", "pkg/event", "pkg/endpoint", "pkg/delivery", "pkg/mtls"},
		"pkg/receiver":  {"pkg/signature", "pkg/mtls"},
		"pkg/stream":    {"schemas", "pkg/event", "pkg/endpoint", "pkg/delivery", "pkg/receipt", "pkg/telemetry"},

		"pkg/identity": {"pkg/seal", "pkg/mtls", "pkg/mtls/authority"},
		"pkg/rotation": {"pkg/endpoint"},
		"pkg/alert":    {"schemas", "pkg/event", "pkg/endpoint"},
		"pkg/doctor":   {"pkg/mtls"},

		"pkg/seal/kms":        {"pkg/seal"},
		"pkg/mtls/authority":  {"pkg/mtls"},
		"pkg/mtls/token":      {"pkg/mtls"},
		"pkg/receiver/nats":   {"pkg/receiver"},
		"pkg/receiver/redis":  {"pkg/receiver"},
		"pkg/stream/embedded": {"pkg/stream"},

		// The signer never holds a client certificate's key, the dispatcher never
		// a signing key.
		"services/signer":     {"pkg/...", "!pkg/mtls/...", "!pkg/receiver/..."},
		"services/dispatcher": {"pkg/...", "!pkg/signature/...", "!pkg/receiver/..."},
		"services/handfast":   {"schemas", "pkg/...", "services/..."},

		"services/handfast/demo":          {"pkg/...", "services/handfast/local"},
		"services/handfast/listener":      {"pkg/..."},
		"services/handfast/stack":         {},
		"services/handfast/operator":      {"schemas", "pkg/...", "services/signer"},
		"services/handfast/table":         {},
		"services/handfast/connection":    {"pkg/stream"},
		"services/handfast/configuration": {},
		"services/handfast/custody":       {"pkg/mtls/token"},
		"services/handfast/process":       {},
		"services/handfast/local":         {"pkg/...", "services/signer", "services/dispatcher", "services/handfast/process"},

		"tests":             {},
		"tests/pipe":        {},
		"tests/kit":         {"schemas", "pkg/...", "services/...", "tests/..."},
		"tests/conformance": {"schemas", "pkg/...", "services/...", "tests/..."},
		"tests/scenario":    {"schemas", "pkg/...", "services/...", "tests/..."},
		"tests/receiver":    {"schemas", "pkg/...", "services/...", "tests/..."},
		"tests/story":       {"schemas", "pkg/...", "services/...", "tests/..."},
		"tests/deployment":  {"schemas", "pkg/...", "services/...", "tests/..."},
		"tests/system":      {"schemas", "pkg/...", "services/...", "tests/..."},
		"tests/bench":       {"schemas", "pkg/...", "services/...", "tests/..."},
	}
}

const (
	maxFunctionLines = 80
	maxFileLines     = 400
)

// rule is one check of the whole module. It returns what is wrong, a line each.
type rule struct {
	name  string
	check func(module) []string
}

func rules() []rule {
	return []rule{
		{"imports follow the drawing", importsFollowDrawing},
		{"only tests import tests", onlyTestsImportTests},
		{"NATS stays at the edges", natsAtTheEdges},
		{"production code does not import testing", noTestingInProduction},
		{"packages are named for one thing", packageNames},
		{"top level holds the fixed layout", topLevel},
		{"exported names are documented", exportedNamesDocumented},
		{"packages are described in doc.go", packagesDescribed},
		{"no init functions", noInit},
		{"no mutable package state", noMutableState},
		{"tests do not sleep", testsDoNotSleep},
		{"TLS verification is never off", verificationNeverOff},
		{"only the command prints", onlyTheCommandPrints},
		{"no stalling NATS loops", noStallingLoops},
		{"functions and files are short", short},
	}
}

// ---- Rules: imports ----

func importsFollowDrawing(m module) []string {
	var wrong []string
	allowed := drawing()
	for _, p := range m.packages {
		patterns, ok := allowed[p.path]
		if !ok {
			wrong = append(wrong, p.path+": this package is not in the drawing; add it to drawing() in tests/architecture_test.go and to the design, on purpose")
			continue
		}
		for _, s := range p.production() {
			for _, i := range s.imports() {
				own, ours := strings.CutPrefix(i.path, modulePath+"/")
				if ours && !matches(own, patterns) {
					wrong = append(wrong, fmt.Sprintf("%s: %s may not import %s; it may import: %s", i.at, p.path, own, orNothing(patterns)))
				}
			}
		}
	}
	return wrong
}

func onlyTestsImportTests(m module) []string {
	return eachImport(m, func(p pkg, path string) string {
		if below(path, modulePath+"/tests") && !below(p.path, "tests") {
			return "production code may not import tests/"
		}
		return ""
	})
}

// natsAtTheEdges keeps the broker out of the nouns: the message codec, the
// table of streams and the services know it, and nobody else.
func natsAtTheEdges(m module) []string {
	return eachImport(m, func(p pkg, path string) string {
		switch {
		case below(path, "github.com/nats-io/nats-server") && !matches(p.path, []string{"pkg/stream/embedded/...", "tests/..."}):
			return "the NATS server may be embedded only by pkg/stream/embedded and tests/"
		case below(path, "github.com/nats-io") && !matches(p.path, []string{"pkg/event", "pkg/stream/...", "pkg/receiver/nats", "services/...", "tests/..."}):
			return "NATS may be imported only by pkg/event, pkg/stream, adapters named for it, services/ and tests/; declare a small interface here instead"
		}
		return ""
	})
}

func noTestingInProduction(m module) []string {
	return eachImport(m, func(p pkg, path string) string {
		testing := below(path, "testing") || below(path, "github.com/stretchr/testify")
		if testing && !below(p.path, "tests") {
			return path + " belongs in _test.go files and in tests/"
		}
		return ""
	})
}

// ---- Rules: names and places ----

func packageNames(m module) []string {
	vague := []string{"util", "utils", "common", "helper", "helpers", "types", "models", "internal", "misc"}
	plural := func(name string) bool {
		if slices.Contains([]string{"schemas", "tests", "nats", "kms"}, name) { // the fixed layout, a proper name, and a service
			return false
		}
		for _, singular := range []string{"ss", "us", "is", "tls"} {
			if strings.HasSuffix(name, singular) {
				return false
			}
		}
		return strings.HasSuffix(name, "s")
	}
	var wrong []string
	for _, p := range m.packages {
		folder := path.Base(p.path)
		for element := range strings.SplitSeq(p.path, "/") {
			if slices.Contains(vague, element) {
				wrong = append(wrong, fmt.Sprintf("%s: %q says nothing about what is inside; name it for a thing", p.path, element))
			}
		}
		if plural(folder) {
			wrong = append(wrong, p.path+": a package is named in the singular")
		}
		for _, s := range p.sources {
			name := s.file.Name.Name
			if s.test {
				name = strings.TrimSuffix(name, "_test")
			}
			if name != folder && name != "main" {
				wrong = append(wrong, fmt.Sprintf("%s: package %s is not named as its folder %s", s.path, name, folder))
			}
		}
	}
	return wrong
}

func topLevel(m module) []string {
	layout := []string{"go.mod", "go.sum", "README.md", "LICENSE", "Taskfile.yml", "services", "pkg", "schemas", "deploy", "tests"}
	var wrong []string
	for _, name := range m.top {
		if !strings.HasPrefix(name, ".") && !slices.Contains(layout, name) {
			wrong = append(wrong, fmt.Sprintf("%s: the top level holds only %s and dotfiles", name, strings.Join(layout, ", ")))
		}
	}
	return wrong
}

// ---- Rules: documentation ----

// exportedNamesDocumented looks at package-level names and methods. A comment
// over a group of constants or variables counts for all of them.
func exportedNamesDocumented(m module) []string {
	return eachProductionFile(m, func(p pkg, s source, report reporter) {
		if s.file.Name.Name == "main" {
			return
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && exportedReceiver(d) && d.Doc.Text() == "" {
					report(d.Pos(), d.Name.Name+" is exported and has no doc comment")
				}
			case *ast.GenDecl:
				undocumentedSpecs(d, report)
			}
		}
	})
}

func undocumentedSpecs(d *ast.GenDecl, report reporter) {
	grouped := d.Lparen.IsValid()
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			documented := spec.Doc.Text()+spec.Comment.Text() != "" || (!grouped && d.Doc.Text() != "")
			if spec.Name.IsExported() && !documented {
				report(spec.Pos(), spec.Name.Name+" is exported and has no doc comment")
			}
		case *ast.ValueSpec:
			if d.Doc.Text()+spec.Doc.Text()+spec.Comment.Text() != "" {
				continue
			}
			for _, name := range spec.Names {
				if name.IsExported() {
					report(name.Pos(), name.Name+" is exported and has no doc comment")
				}
			}
		}
	}
}

func packagesDescribed(m module) []string {
	var wrong []string
	for _, p := range m.packages {
		described := func(s source) bool { return path.Base(s.path) == "doc.go" && s.file.Doc.Text() != "" }
		if production := p.production(); len(production) > 0 && !slices.ContainsFunc(production, described) {
			wrong = append(wrong, p.path+": there is no doc.go with a package comment: what it is, its picture or states, what it must never do")
		}
	}
	return wrong
}

// ---- Rules: code ----

func noInit(m module) []string {
	return eachFile(m, func(_ pkg, s source, report reporter) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				report(f.Pos(), "func init runs before anybody asked for it; build the value where it is used")
			}
		}
	})
}

// noMutableState lets a package-level variable stand when nothing can change it:
//
//   - it is blank: an assertion such as var _ I = T{};
//   - its initialiser is a call that makes an immutable value (immutableCalls);
//   - it is filled by go:embed;
//   - it is unexported, a composite literal (a table, an object identifier) of
//     a type outside sync, and no code of the package assigns to it or to a part
//     of it, takes its address or sorts it in place. Unexported matters: then the
//     package is all the code there is to look at.
//
// It works on names, not on types, so that a local variable of the same name
// that is written to counts as well. Give that one another name.
func noMutableState(m module) []string {
	var wrong []string
	for _, p := range m.packages {
		written := map[string]bool{}
		for _, s := range p.production() {
			collectWrites(s.file, written)
		}
		for _, s := range p.production() {
			for _, d := range s.file.Decls {
				g, ok := d.(*ast.GenDecl)
				if !ok || g.Tok != token.VAR {
					continue
				}
				for _, spec := range g.Specs {
					for _, problem := range mutable(g, spec.(*ast.ValueSpec), written) {
						wrong = append(wrong, s.at(spec.Pos())+": "+problem)
					}
				}
			}
		}
	}
	return wrong
}

// immutableCalls are calls whose result never changes. sync.OnceValue makes a
// value that is computed on first use, the same each time.
func immutableCalls() []string {
	return []string{
		"errors.New", "fmt.Errorf",
		"regexp.MustCompile", "strings.NewReplacer",
		"netip.MustParseAddr", "netip.MustParsePrefix", "netip.AddrFrom4", "netip.AddrFrom16", "netip.PrefixFrom",
		"sync.OnceValue", "sync.OnceValues",
		"time.Date", "time.Unix",
	}
}

// immutableCall also knows the encodings, whose options are a chain of calls.
func immutableCall(function string) bool {
	return slices.Contains(immutableCalls(), function) || strings.HasPrefix(function, "base32.") || strings.HasPrefix(function, "base64.")
}

func mutable(g *ast.GenDecl, spec *ast.ValueSpec, written map[string]bool) []string {
	if embedded(g.Doc) || embedded(spec.Doc) {
		return nil
	}
	var problems []string
	for i, name := range spec.Names {
		if name.Name == "_" {
			continue
		}
		var value ast.Expr
		if len(spec.Values) == len(spec.Names) {
			value = spec.Values[i]
		}
		switch v := value.(type) {
		case *ast.CallExpr:
			if immutableCall(types.ExprString(v.Fun)) && !written[name.Name] {
				continue
			}
		case *ast.CompositeLit:
			if !name.IsExported() && !written[name.Name] && !strings.HasPrefix(types.ExprString(orIdent(v.Type)), "sync.") {
				continue
			}
		}
		problems = append(problems, name.Name+" is package state that can change; make it a constant, a function, or a field of what needs it")
	}
	return problems
}

func embedded(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

// collectWrites notes the names that a file assigns to, wholly or in part.
func collectWrites(f *ast.File, written map[string]bool) {
	note := func(exprs ...ast.Expr) {
		for _, e := range exprs {
			if name := rootName(e); name != "" {
				written[name] = true
			}
		}
	}
	inPlace := []string{"delete", "clear", "copy", "slices.Sort", "slices.SortFunc", "slices.SortStableFunc", "slices.Reverse", "sort.Slice", "sort.Strings", "maps.Copy", "maps.DeleteFunc"}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				note(n.Lhs...)
			}
		case *ast.IncDecStmt:
			note(n.X)
		case *ast.RangeStmt:
			if n.Tok == token.ASSIGN {
				note(n.Key, n.Value)
			}
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				note(n.X)
			}
		case *ast.CallExpr:
			if len(n.Args) > 0 && slices.Contains(inPlace, types.ExprString(n.Fun)) {
				note(n.Args[0])
			}
		}
		return true
	})
}

func testsDoNotSleep(m module) []string {
	return eachFile(m, func(p pkg, s source, report reporter) {
		if s.test || below(p.path, "tests") {
			s.uses("time", []string{"Sleep"}, func(at token.Pos, name string) {
				report(at, "time."+name+" in a test; use testing/synctest, or wait for the condition")
			})
		}
	})
}

// verificationNeverOff wants a literal false: a variable would be a switch.
func verificationNeverOff(m module) []string {
	const field = "InsecureSkipVerify"
	return eachFile(m, func(_ pkg, s source, report reporter) {
		check := func(name, value ast.Expr) {
			if rightmost(name) == field && (value == nil || types.ExprString(value) != "false") {
				report(name.Pos(), field+" turns verification off; use a development authority")
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				check(n.Key, n.Value)
			case *ast.AssignStmt:
				for i, name := range n.Lhs {
					if len(n.Rhs) == len(n.Lhs) {
						check(name, n.Rhs[i])
					} else {
						check(name, nil)
					}
				}
			}
			return true
		})
	})
}

func onlyTheCommandPrints(m module) []string {
	return eachProductionFile(m, func(p pkg, s source, report reporter) {
		if below(p.path, "services/handfast") || below(p.path, "tests/bench") {
			return
		}
		s.uses("fmt", []string{"Print", "Printf", "Println"}, func(at token.Pos, name string) {
			report(at, "fmt."+name+" writes to standard output, which belongs to the command; return the value, or log it")
		})
		ast.Inspect(s.file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && slices.Contains([]string{"print", "println"}, types.ExprString(call.Fun)) {
				report(call.Pos(), "the built-in print is for debugging")
			}
			return true
		})
	})
}

// noStallingLoops refuses the two consumers of nats.go that stall (DESIGN.md,
// section 12). Messages of a fetched batch is another method of the same name: it
// takes nothing and gives one value, where the consumer's takes options and
// gives two. Every file of a package that knows nats.go is looked at, because the
// consumer may be hidden behind an interface of the package's own.
func noStallingLoops(m module) []string {
	var wrong []string
	for _, p := range m.packages {
		knowsNATS := func(s source) bool {
			return slices.ContainsFunc(s.imports(), func(i imported) bool { return below(i.path, "github.com/nats-io/nats.go") })
		}
		if !slices.ContainsFunc(p.sources, knowsNATS) {
			continue
		}
		for _, s := range p.sources {
			pairs := twoValueCalls(s.file)
			ast.Inspect(s.file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				selector, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				name := selector.Sel.Name
				if name == "Consume" || (name == "Messages" && (len(call.Args) > 0 || pairs[call])) {
					wrong = append(wrong, fmt.Sprintf("%s: %s stalls between batches in nats.go v1.55.0; loop over Fetch", s.at(selector.Sel.Pos()), name))
				}
				return true
			})
		}
	}
	return wrong
}

// twoValueCalls are the calls whose two results are taken apart or passed on.
func twoValueCalls(f *ast.File) map[*ast.CallExpr]bool {
	calls := map[*ast.CallExpr]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if call, ok := n.Rhs[0].(*ast.CallExpr); ok && len(n.Lhs) == 2 && len(n.Rhs) == 1 {
				calls[call] = true
			}
		case *ast.FuncDecl:
			if n.Type.Results.NumFields() == 2 && n.Body != nil {
				for _, statement := range n.Body.List {
					if r, ok := statement.(*ast.ReturnStmt); ok && len(r.Results) == 1 {
						if call, ok := r.Results[0].(*ast.CallExpr); ok {
							calls[call] = true
						}
					}
				}
			}
		}
		return true
	})
	return calls
}

func short(m module) []string {
	return eachProductionFile(m, func(_ pkg, s source, report reporter) {
		if lines := s.set.File(s.file.Pos()).LineCount(); lines > maxFileLines {
			report(s.file.Pos(), fmt.Sprintf("the file has %d lines, more than %d; it holds more than one thing", lines, maxFileLines))
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				if lines := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line + 1; lines > maxFunctionLines {
					report(f.Pos(), fmt.Sprintf("%s has %d lines, more than %d; name its steps", f.Name.Name, lines, maxFunctionLines))
				}
			}
		}
	})
}

// ---- The rules' tools ----

type reporter func(at token.Pos, problem string)

func eachFile(m module, check func(pkg, source, reporter)) []string {
	var wrong []string
	for _, p := range m.packages {
		for _, s := range p.sources {
			check(p, s, func(at token.Pos, problem string) { wrong = append(wrong, s.at(at)+": "+problem) })
		}
	}
	return wrong
}

func eachProductionFile(m module, check func(pkg, source, reporter)) []string {
	return eachFile(m, func(p pkg, s source, report reporter) {
		if !s.test {
			check(p, s, report)
		}
	})
}

// eachImport asks about every import of production code; an answer is a problem.
func eachImport(m module, check func(p pkg, path string) string) []string {
	var wrong []string
	for _, p := range m.packages {
		for _, s := range p.production() {
			for _, i := range s.imports() {
				if problem := check(p, i.path); problem != "" {
					wrong = append(wrong, i.at+": "+problem)
				}
			}
		}
	}
	return wrong
}

// below is whether a path is a folder or stands under it.
func below(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

func matches(path string, patterns []string) bool {
	match := false
	for _, pattern := range patterns {
		pattern, taken := strings.CutPrefix(pattern, "!")
		folder, tree := strings.CutSuffix(pattern, "/...")
		if path == pattern || (tree && below(path, folder)) {
			match = !taken
		}
	}
	return match
}

func orNothing(patterns []string) string {
	if len(patterns) == 0 {
		return "nothing of ours"
	}
	return strings.Join(patterns, " ")
}

func exportedReceiver(f *ast.FuncDecl) bool {
	return f.Recv == nil || ast.IsExported(rootName(f.Recv.List[0].Type))
}

// rootName is the variable that an expression is a part of: x for (*x).y[2].
func rootName(e ast.Expr) string {
	for {
		switch v := e.(type) {
		case *ast.Ident:
			return v.Name
		case *ast.SelectorExpr:
			e = v.X
		case *ast.IndexExpr:
			e = v.X
		case *ast.IndexListExpr:
			e = v.X
		case *ast.SliceExpr:
			e = v.X
		case *ast.StarExpr:
			e = v.X
		case *ast.ParenExpr:
			e = v.X
		default:
			return ""
		}
	}
}

func rightmost(e ast.Expr) string {
	switch v := e.(type) {
	case *ast.Ident:
		return v.Name
	case *ast.SelectorExpr:
		return v.Sel.Name
	}
	return ""
}

func orIdent(e ast.Expr) ast.Expr {
	if e == nil {
		return ast.NewIdent("")
	}
	return e
}

// ---- Reading the module ----

type module struct {
	packages []pkg
	top      []string // names at the top level of the repository
}

type pkg struct {
	path    string // relative to the module
	sources []source
}

type source struct {
	path string // relative to the module
	test bool
	set  *token.FileSet
	file *ast.File
}

type imported struct{ path, at string }

func (p pkg) production() []source {
	return slices.DeleteFunc(slices.Clone(p.sources), func(s source) bool { return s.test })
}

func (s source) at(pos token.Pos) string {
	return fmt.Sprintf("%s:%d", s.path, s.set.Position(pos).Line)
}

func (s source) imports() []imported {
	var all []imported
	for _, spec := range s.file.Imports {
		p, _ := strconv.Unquote(spec.Path.Value) // the parser has accepted it
		all = append(all, imported{path: p, at: s.at(spec.Pos())})
	}
	return all
}

// uses finds names of an imported standard package, under whatever name it was
// imported. Whether they are called or passed on makes no difference.
func (s source) uses(importPath string, names []string, found func(token.Pos, string)) {
	for _, spec := range s.file.Imports {
		if spec.Path.Value != strconv.Quote(importPath) {
			continue
		}
		local := path.Base(importPath)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == local && slices.Contains(names, n.Sel.Name) {
					found(n.Pos(), n.Sel.Name)
				}
			case *ast.Ident:
				if local == "." && slices.Contains(names, n.Name) {
					found(n.Pos(), n.Name)
				}
			}
			return true
		})
	}
}

func parse(path, text string) (source, error) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, path, text, parser.ParseComments|parser.SkipObjectResolution)
	return source{path: path, test: strings.HasSuffix(path, "_test.go"), set: set, file: f}, err
}

// load reads the repository. go list says where packages are; their files are
// all parsed, whatever their build constraints say.
func load(t *testing.T) module {
	t.Helper()
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=Dir", "./...")
	command.Dir = root
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	require.NoError(t, err, "go list: %s", stderr.String())

	var m module
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var listed struct {
			Dir string `json:"Dir"`
		}
		err := decoder.Decode(&listed)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		m.packages = append(m.packages, loadPackage(t, root, listed.Dir))
	}
	require.NotEmpty(t, m.packages)
	m.top = list(t, root)
	return m
}

func loadPackage(t *testing.T, root, dir string) pkg {
	t.Helper()
	// Listing the parent tells the test cache to run again when a package is added.
	list(t, filepath.Dir(dir))
	relative, err := filepath.Rel(root, dir)
	require.NoError(t, err)
	p := pkg{path: filepath.ToSlash(relative)}
	for _, name := range list(t, dir) {
		if !strings.HasSuffix(name, ".go") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		s, err := parse(path.Join(p.path, name), string(text))
		require.NoError(t, err)
		p.sources = append(p.sources, s)
	}
	return p
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// ---- The tests ----

func TestArchitecture(t *testing.T) {
	m := load(t)
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			if wrong := r.check(m); len(wrong) > 0 {
				t.Errorf("%d found:\n%s", len(wrong), strings.Join(wrong, "\n"))
			}
		})
	}
}

// sources makes a module of files given as path and text. A path without .go is
// a name at the top level.
func sources(t *testing.T, files map[string]string) module {
	t.Helper()
	packages := map[string]pkg{}
	var m module
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !strings.HasSuffix(name, ".go") {
			m.top = append(m.top, name)
			continue
		}
		s, err := parse(name, files[name])
		require.NoError(t, err)
		p := packages[path.Dir(name)]
		p.path = path.Dir(name)
		p.sources = append(p.sources, s)
		packages[p.path] = p
	}
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		m.packages = append(m.packages, packages[name])
	}
	return m
}

// sample is one file that a rule must refuse or accept.
type sample struct {
	rule string
	path string
	text string
	want string // part of the finding; empty when the file must pass
}

func samples() []sample {
	our := func(path string) string { return `import _ "` + modulePath + "/" + path + `"` }
	long := "package event\nfunc f() {\n" + strings.Repeat("\tprintln()\n", maxFunctionLines-1) + "}\n"
	return []sample{
		{"imports follow the drawing", "pkg/event/x.go", "package event\n" + our("pkg/endpoint"), "pkg/event may not import pkg/endpoint"},
		{"imports follow the drawing", "pkg/telemetry/x.go", "package telemetry\n" + our("schemas"), "may import: nothing of ours"},
		{"imports follow the drawing", "pkg/mtls/x.go", "package mtls\n" + our("pkg/mtls/authority"), "may not import pkg/mtls/authority"},
		{"imports follow the drawing", "pkg/stream/x.go", "package stream\n" + our("pkg/stream/embedded"), "may not import"},
		{"imports follow the drawing", "services/signer/x.go", "package signer\n" + our("pkg/mtls/authority"), "may not import pkg/mtls/authority"},
		{"imports follow the drawing", "services/signer/x.go", "package signer\n" + our("services/dispatcher"), "may not import services/dispatcher"},
		{"imports follow the drawing", "services/dispatcher/x.go", "package dispatcher\n" + our("pkg/signature"), "may not import pkg/signature"},
		{"imports follow the drawing", "pkg/novelty/x.go", "package novelty", "not in the drawing"},
		{"imports follow the drawing", "pkg/event/x.go", "package event\n" + our("pkg/telemetry") + "\nimport _ \"net/http\"", ""},
		{"imports follow the drawing", "pkg/event/x_test.go", "package event\n" + our("pkg/stream/embedded"), ""},
		{"imports follow the drawing", "services/handfast/x.go", "package main\n" + our("services/signer"), ""},
		{"imports follow the drawing", "services/signer/x.go", "package signer\n" + our("pkg/signature"), ""},

		{"only tests import tests", "services/handfast/x.go", "package main\n" + our("tests/kit"), "may not import tests/"},
		{"only tests import tests", "tests/scenario/x.go", "package scenario\n" + our("tests/kit"), ""},
		{"only tests import tests", "pkg/event/x_test.go", "package event_test\n" + our("tests/kit"), ""},

		{"NATS stays at the edges", "pkg/endpoint/x.go", `package endpoint; import _ "github.com/nats-io/nats.go/jetstream"`, "NATS may be imported only by"},
		{"NATS stays at the edges", "pkg/mtls/x.go", `package mtls; import _ "github.com/nats-io/nkeys"`, "NATS may be imported only by"},
		{"NATS stays at the edges", "services/signer/x.go", `package signer; import _ "github.com/nats-io/nats-server/v2/server"`, "server may be embedded only by"},
		{"NATS stays at the edges", "pkg/stream/embedded/x.go", `package embedded; import _ "github.com/nats-io/nats-server/v2/server"`, ""},
		{"NATS stays at the edges", "pkg/event/x.go", `package event; import _ "github.com/nats-io/nats.go"`, ""},
		{"NATS stays at the edges", "pkg/endpoint/x_test.go", `package endpoint; import _ "github.com/nats-io/nats.go"`, ""},

		{"production code does not import testing", "pkg/event/x.go", `package event; import _ "testing/synctest"`, "testing/synctest belongs"},
		{"production code does not import testing", "pkg/event/x.go", `package event; import _ "github.com/stretchr/testify/assert"`, "belongs in _test.go"},
		{"production code does not import testing", "tests/kit/x.go", `package kit; import _ "testing"`, ""},

		{"packages are named for one thing", "pkg/events/x.go", "package events", "singular"},
		{"packages are named for one thing", "pkg/event/util/x.go", "package util", "says nothing"},
		{"packages are named for one thing", "pkg/internal/event/x.go", "package event", "says nothing"},
		{"packages are named for one thing", "pkg/event/x.go", "package cloudevent", "not named as its folder"},
		{"packages are named for one thing", "pkg/event/x_test.go", "package other_test", "not named as its folder"},
		{"packages are named for one thing", "pkg/mtls/x_test.go", "package mtls_test", ""},
		{"packages are named for one thing", "schemas/embed.go", "package schemas", ""},
		{"packages are named for one thing", "services/handfast/main.go", "package main", ""},

		{"top level holds the fixed layout", "docs", "", "docs: the top level holds only"},
		{"top level holds the fixed layout", "deploy", "", ""},
		{"top level holds the fixed layout", ".golangci.yml", "", ""},

		{"exported names are documented", "pkg/event/x.go", "package event\nfunc F() {}", "F is exported"},
		{"exported names are documented", "pkg/event/x.go", "package event\n//go:noinline\nfunc F() {}", "F is exported"},
		{"exported names are documented", "pkg/event/x.go", "package event\n// T is.\ntype T int\nfunc (*T) M() {}", "M is exported"},
		{"exported names are documented", "pkg/event/x.go", "package event\n// T is.\ntype T[P any] int\nfunc (*T[P]) M() {}", "M is exported"},
		{"exported names are documented", "pkg/event/x.go", "package event\n// All of them.\ntype (\nT int\n)", "T is exported"},
		{"exported names are documented", "pkg/event/x.go", "package event\nconst (\nA, B = 1, 2\n)", "B is exported"},
		{"exported names are documented", "pkg/event/x.go", "package event\n// The sizes.\nconst (\nA = 1\nB = 2\n)\ntype t int\nfunc (t) M() {}\nfunc f() {}\nvar V = 1 // V is.", ""},
		{"exported names are documented", "services/handfast/x.go", "package main\nfunc F() {}", ""},

		{"packages are described in doc.go", "pkg/event/event.go", "// Package event is.\npackage event", "no doc.go"},
		{"packages are described in doc.go", "pkg/event/doc.go", "package event", "no doc.go"},
		{"packages are described in doc.go", "pkg/event/doc.go", "// Package event is.\npackage event", ""},
		{"packages are described in doc.go", "tests/x_test.go", "package tests", ""},

		{"no init functions", "pkg/event/x.go", "package event\nfunc init() {}", "func init"},
		{"no init functions", "pkg/event/x.go", "package event\ntype t int\nfunc (t) init() {}", ""},

		{"no mutable package state", "pkg/event/x.go", "package event\nvar count int", "count is package state"},
		{"no mutable package state", "pkg/event/x.go", "package event\nvar now = time.Now", "now is package state"},
		{"no mutable package state", "pkg/event/x.go", "package event\nvar (\na, b = f()\n)", "b is package state"},
		{"no mutable package state", "pkg/event/x.go", "package event\nvar p = &T{}", "p is package state"},
		{"no mutable package state", "pkg/event/x.go", "package event\nvar pool = sync.Pool{}", "pool is package state"},
		{"no mutable package state", "pkg/event/x.go", "package event\nvar Names = []string{}", "Names is package state"},
		{"no mutable package state", "pkg/event/x.go", "package event\nvar names = map[int]string{}\nfunc f() { names[1] = `x` }", "names is package state"},
		{"no mutable package state", "pkg/event/x.go", "package event\nvar names = [2]string{}\nfunc f() { g(&names[1]) }", "names is package state"},
		{"no mutable package state", "pkg/event/x.go", "package event\nvar counts = [2]int{}\nfunc f() { counts[1]++ }", "counts is package state"},
		{"no mutable package state", "pkg/event/x.go", "package event\nvar names = map[int]string{}\nfunc f() { delete(names, 1) }", "names is package state"},
		{"no mutable package state", "pkg/event/x.go", "package event\nvar names = []string{}\nfunc f() { for _, names[0] = range g() {} }", "names is package state"},
		{"no mutable package state", "pkg/event/x.go", "package event\nvar ErrGone = errors.New(`gone`)\nfunc f() { ErrGone = nil }", "ErrGone is package state"},
		{"no mutable package state", "pkg/event/x.go", "package event\nvar names = [...]string{1: `a`}\nvar ErrGone = errors.New(`gone`)\nvar plain = base32.NewEncoding(`a`).WithPadding(base32.NoPadding)\nvar token = regexp.MustCompile(`x`)\nvar _ I = (*T)(nil)\n//go:embed a.json\nvar FS embed.FS\nfunc f() string { local := 1; local = 2; return names[local] }", ""},
		{"no mutable package state", "pkg/event/x_test.go", "package event\nvar update = flag.Bool()", ""},

		{"tests do not sleep", "pkg/event/x_test.go", "package event\nimport \"time\"\nfunc f() { time.Sleep(1) }", "time.Sleep in a test"},
		{"tests do not sleep", "pkg/event/x_test.go", "package event\nimport clock \"time\"\nvar pause = clock.Sleep", "time.Sleep in a test"},
		{"tests do not sleep", "pkg/event/x_test.go", "package event\nimport . \"time\"\nfunc f() { Sleep(1) }", "time.Sleep in a test"},
		{"tests do not sleep", "tests/kit/x.go", "package kit\nimport \"time\"\nfunc f() { time.Sleep(1) }", "time.Sleep in a test"},
		{"tests do not sleep", "pkg/event/x_test.go", "package event\nimport \"time\"\nfunc f() { <-time.After(1); other.Sleep() }", ""},

		{"TLS verification is never off", "pkg/mtls/x.go", "package mtls\nvar c = tls.Config{InsecureSkipVerify: true}", "turns verification off"},
		{"TLS verification is never off", "pkg/mtls/x_test.go", "package mtls\nvar c = tls.Config{InsecureSkipVerify: development}", "turns verification off"},
		{"TLS verification is never off", "pkg/mtls/x.go", "package mtls\nfunc f() { c.InsecureSkipVerify = true }", "turns verification off"},
		{"TLS verification is never off", "pkg/mtls/x.go", "package mtls\nfunc f() { c.InsecureSkipVerify, err = g() }", "turns verification off"},
		{"TLS verification is never off", "pkg/mtls/x.go", "package mtls\n// InsecureSkipVerify: true is never set.\nvar c = tls.Config{InsecureSkipVerify: false}", ""},

		{"only the command prints", "pkg/event/x.go", "package event\nimport \"fmt\"\nfunc f() { fmt.Println() }", "fmt.Println writes"},
		{"only the command prints", "pkg/event/x.go", "package event\nfunc f() { println() }", "built-in print"},
		{"only the command prints", "services/handfast/x.go", "package main\nimport \"fmt\"\nfunc f() { fmt.Println() }", ""},
		{"only the command prints", "pkg/event/example_test.go", "package event\nimport \"fmt\"\nfunc f() { fmt.Println() }", ""},
		{"only the command prints", "pkg/event/x.go", "package event\nimport \"fmt\"\nfunc f() { fmt.Fprintln(w); fmt.Sprint() }", ""},

		{"no stalling NATS loops", "services/signer/x.go", "package signer\nimport \"github.com/nats-io/nats.go/jetstream\"\nfunc f() { c.Consume(h) }", "Consume stalls"},
		{"no stalling NATS loops", "services/signer/x.go", "package signer\nimport \"github.com/nats-io/nats.go/jetstream\"\nfunc f() { it, err := c.Messages() }", "Messages stalls"},
		{"no stalling NATS loops", "services/signer/x.go", "package signer\nimport \"github.com/nats-io/nats.go/jetstream\"\nfunc f() { g(c.Messages(jetstream.PullMaxMessages(1))) }", "Messages stalls"},
		{"no stalling NATS loops", "services/signer/x.go", "package signer\nimport \"github.com/nats-io/nats.go/jetstream\"\nfunc f() (a, error) { return c.Messages() }", "Messages stalls"},
		{"no stalling NATS loops", "services/signer/x.go", "package signer\nimport \"github.com/nats-io/nats.go/jetstream\"\nfunc f() { for m := range batch.Messages() {} }", ""},
		{"no stalling NATS loops", "pkg/signature/x.go", "package signature\nfunc f() { budget.Consume(1) }", ""},

		{"functions and files are short", "pkg/event/x.go", long, "f has 81 lines"},
		{"functions and files are short", "pkg/event/x.go", "package event\n" + strings.Repeat("\n", maxFileLines), "the file has 401 lines"},
		{"functions and files are short", "pkg/event/x.go", strings.Replace(long, "\tprintln()\n", "", 1), ""},
		{"functions and files are short", "pkg/event/x_test.go", long, ""},
	}
}

func TestRulesOnSamples(t *testing.T) {
	refused, accepted := map[string]bool{}, map[string]bool{}
	for _, s := range samples() {
		i := slices.IndexFunc(rules(), func(r rule) bool { return r.name == s.rule })
		require.NotEqual(t, -1, i, "no rule is called %q", s.rule)
		wrong := rules()[i].check(sources(t, map[string]string{s.path: s.text}))
		if s.want == "" {
			accepted[s.rule] = true
			assert.Empty(t, wrong, "%s: %s\n%s", s.rule, s.path, s.text)
			continue
		}
		refused[s.rule] = true
		assert.Contains(t, strings.Join(wrong, "\n"), s.want, "%s: %s\n%s", s.rule, s.path, s.text)
	}
	for _, r := range rules() {
		assert.True(t, refused[r.name], "%s: never seen to fail", r.name)
		assert.True(t, accepted[r.name], "%s: never seen to pass", r.name)
	}
}

// What a rule says must lead to the place.
func TestFindingsNamePlaces(t *testing.T) {
	m := sources(t, map[string]string{"pkg/event/x.go": "package event\n\nfunc init() {}\n"})
	assert.Equal(t, []string{"pkg/event/x.go:3: func init runs before anybody asked for it; build the value where it is used"}, noInit(m))
}

// The drawing itself must make sense: only known packages in it, and no circle.
func TestDrawing(t *testing.T) {
	d := drawing()
	for from, patterns := range d {
		for _, pattern := range patterns {
			folder := strings.TrimSuffix(strings.TrimPrefix(pattern, "!"), "/...")
			known := slices.ContainsFunc(slices.Collect(maps.Keys(d)), func(p string) bool { return below(p, folder) })
			assert.True(t, known, "%s: %s stands for no package of the drawing", from, pattern)
		}
		for to := range d {
			if from < to && !below(from, "tests") {
				assert.False(t, matches(to, d[from]) && matches(from, d[to]), "%s and %s may import each other", from, to)
			}
		}
	}
	assert.False(t, matches("services/signer", d["services/dispatcher"]))
	assert.False(t, matches("services/dispatcher", d["services/signer"]))
}
