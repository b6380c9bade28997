package endpoint

import (
	"errors"
	"fmt"
	"strings"

	"github.com/antlr/antlr4/runtime/Go/antlr"
	cesql "github.com/cloudevents/sdk-go/sql/v2"
	sqlerrors "github.com/cloudevents/sdk-go/sql/v2/errors"
	"github.com/cloudevents/sdk-go/sql/v2/gen"
	"github.com/cloudevents/sdk-go/sql/v2/parser"
	"github.com/cloudevents/sdk-go/sql/v2/runtime"
	"github.com/cloudevents/sdk-go/sql/v2/utils"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"
)

// maxParentheses bounds the parser's recursion, and its time: an expression of
// nothing but opening ones costs the square of its length.
const maxParentheses = 64

// compile parses a CESQL expression. The SDK's own parser is not enough: it
// drops characters that it does not know (type = 't' @ would be accepted) and
// prints them to the standard error, panics on half an expression, and finds an
// unknown function only when an event arrives. So a strict pass of our own over
// the same grammar comes first.
func compile(expression string) (compiled cesql.Expression, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			compiled, err = nil, errors.New("is not valid CESQL: it cannot be understood")
		}
	}()
	if err := scrutinise(expression); err != nil {
		return nil, err
	}
	compiled, err = parser.Parse(expression)
	if err != nil {
		reason := plainReason(err)
		if strings.Contains(reason, "value out of range") {
			reason = "an integer must lie between -2147483648 and 2147483647"
		}
		return nil, fmt.Errorf("is not valid CESQL: %s", reason)
	}
	return compiled, nil
}

// scrutinise reports what the SDK's parser lets pass.
func scrutinise(expression string) error {
	input := parser.NewCaseChangingStream(antlr.NewInputStream(expression), true)
	listener := &syntaxListener{}
	lexer := gen.NewCESQLParserLexer(input)
	lexer.RemoveErrorListeners()
	lexer.AddErrorListener(listener)
	tokens := antlr.NewCommonTokenStream(lexer, antlr.TokenDefaultChannel)
	tokens.Fill()
	opening := 0
	for _, token := range tokens.GetAllTokens() {
		if token.GetTokenType() == gen.CESQLParserLexerLR_BRACKET {
			opening++
		}
	}
	if opening > maxParentheses {
		return fmt.Errorf("has %d opening parentheses; at most %d are accepted", opening, maxParentheses)
	}
	if listener.err != nil {
		return listener.err
	}
	grammar := gen.NewCESQLParserParser(tokens)
	grammar.RemoveErrorListeners()
	grammar.AddErrorListener(listener)
	tree := grammar.Cesql()
	if listener.err != nil {
		return listener.err
	}
	functions := &functionListener{}
	antlr.NewParseTreeWalker().Walk(functions, tree)
	return functions.err
}

// syntaxListener keeps the first error: those after it are mostly its echo.
type syntaxListener struct {
	antlr.DefaultErrorListener

	err error
}

// SyntaxError implements antlr.ErrorListener.
func (l *syntaxListener) SyntaxError(_ antlr.Recognizer, symbol any, _, column int, _ string, _ antlr.RecognitionException) {
	if l.err != nil {
		return
	}
	token, ok := symbol.(antlr.Token)
	switch {
	case !ok:
		l.err = fmt.Errorf("is not valid CESQL at character %d: there is a character that has no meaning here, or a quote that is not closed", column+1)
	case token.GetTokenType() == antlr.TokenEOF:
		l.err = errors.New("is not valid CESQL: it ends too early")
	default:
		l.err = fmt.Errorf("is not valid CESQL at character %d: %s does not belong here", column+1, quote(token.GetText()))
	}
}

// functionListener finds calls that no function answers.
type functionListener struct {
	antlr.BaseParseTreeListener

	err error
}

// EnterEveryRule implements antlr.ParseTreeListener.
func (l *functionListener) EnterEveryRule(rule antlr.ParserRuleContext) {
	call, ok := rule.(*gen.FunctionInvocationExpressionContext)
	if !ok || l.err != nil {
		return
	}
	name := strings.ToUpper(call.FunctionIdentifier().GetText())
	arguments := 0
	if parameters, ok := call.FunctionParameterList().(*gen.FunctionParameterListContext); ok {
		arguments = len(parameters.AllExpression())
	}
	if runtime.ResolveFunction(name, arguments) == nil {
		l.err = fmt.Errorf("is not valid CESQL: there is no function %s that takes this number of arguments (%d)", name, arguments)
	}
}

// evaluate runs an expression; its result is cast to a truth value as CESQL does
// for AND and OR. It is safe for concurrent use: expressions hold no state.
func evaluate(expression cesql.Expression, event cloudevents.Event) (matched bool, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			matched, err = false, fmt.Errorf("the CESQL evaluator gave up: %v", reason)
		}
	}()
	result, err := expression.Evaluate(event)
	if sqlerrors.IsMissingAttributeError(err) {
		name := plainReason(err)
		return false, fmt.Errorf("the event has no attribute %s (guard it with EXISTS %s AND …): %w", name, name, err)
	}
	if err != nil {
		return false, err
	}
	truth, err := utils.Cast(result, cesql.BooleanType)
	if err != nil {
		return false, fmt.Errorf("the result is neither true nor false: %w", err)
	}
	matched, ok := truth.(bool)
	if !ok {
		return false, fmt.Errorf("the result is neither true nor false but %T", truth)
	}
	return matched, nil
}

// plainReason removes the kind that the SDK writes before its messages.
func plainReason(err error) string {
	_, reason, found := strings.Cut(err.Error(), " error: ")
	if !found {
		return err.Error()
	}
	return reason
}
