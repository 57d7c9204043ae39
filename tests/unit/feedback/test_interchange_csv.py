"""Tables of questions and answers: every dialect, and what a broken quote costs."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from interchange_rows import TAUGHT, only, reasons, told, written

from feedback.errors import InvalidInput
from feedback.interchange import question_answer_csv
from feedback.interchange.checks import Giver, check
from feedback.interchange.records import Record, Unreadable


@pytest.mark.parametrize(
    "content",
    [
        "question,answer\nHow tall?,330 metres.\n",
        "\ufeffquestion;answer\r\nHow tall?;330 metres.\r\n",
        "id\tPrompt\tResponse\n1\tHow tall?\t330 metres.\n",
        '"Answer","Question"\n"330 metres.","How tall?"\n',
        "How tall?,330 metres.",
        "\n\nquestion,answer\n\nHow tall?,330 metres.\n,\n",
    ],
)
def test_a_table_of_questions_and_answers_in_any_dialect(tmp_path: Path, content: str) -> None:
    assert told(only(question_answer_csv.read(written(tmp_path, "a.csv", content)))) == TAUGHT


def test_a_table_may_name_contributors_and_keeps_line_breaks_in_quotes(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", 'question,answer,contributor,comment\n"How\ntall, ""really""?",\'=1,ada, \n')
    made = only(question_answer_csv.read(path))
    assert (made.messages, made.value["content"]) == ((("user", 'How\ntall, "really"?'),), "=1")
    assert (made.line, made.contributor, made.comment) == (2, "ada", None)


@pytest.mark.parametrize(
    "header",
    [
        "Frage;Antwort",
        "q,a",
        "Q\tA",
        "question,correct answer",
        "prompt,completion",
        "input,output",
        "Query,Correct_Answer",
        "Question,Re\u0301ponse",
        "问题,答案",
    ],
)
def test_a_header_of_two_columns_in_other_words_is_no_correction(tmp_path: Path, header: str) -> None:
    delimiter = next(one for one in ",;\t" if one in header)
    path = written(tmp_path, "a.csv", f"{header}\nHow tall?{delimiter}330 metres.\n")
    assert told(only(question_answer_csv.read(path))) == TAUGHT
    assert question_answer_csv.remarks(path) == []


def test_what_is_said_to_be_correct_is_learned_and_not_the_answer_beside_it(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "question,answer,correct answer\nHow tall?,Tall.,330 metres.\n")
    assert told(only(question_answer_csv.read(path))) == TAUGHT
    assert question_answer_csv.remarks(path) == ["the column `answer` isn't read"]


def test_a_first_row_that_is_no_known_header_is_read_and_told(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", f"Spørgsmål,Svar\nHow tall?,{'metres ' * 20}\n")
    assert len(list(question_answer_csv.read(path))) == 2
    (remark,) = question_answer_csv.remarks(path)
    assert "`Spørgsmål` and `Svar`" in remark
    path = written(tmp_path, "b.csv", f'"How\ntall?","{"metres " * 20}"\n')
    (remark,) = question_answer_csv.remarks(path)
    assert "`How tall?` and `metres metres" in remark
    assert len(remark) < 200


def test_the_columns_that_are_not_read_are_told(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "id,question,answer,comment,notes,,answer\n1,How tall?,330 metres.,x,y,z,No.\n")
    assert told(only(question_answer_csv.read(path))) == TAUGHT
    assert question_answer_csv.remarks(path) == ["columns not read: `id`, `notes`, 6 (without a name), `answer`"]


@pytest.mark.parametrize("name", ["key_facts", "Key Facts"])
def test_a_table_may_say_what_a_right_answer_must_contain(tmp_path: Path, name: str) -> None:
    rows = ["How tall?,330 metres.,330 ; metres;;", "How wide?,125 metres.,", "Why?,For the fair.,; ;", "Who?,Eiffel."]
    path = written(tmp_path, "a.csv", "\n".join([f"question,answer,{name}", *rows]))
    facts = [read.value["key_facts"] for read in question_answer_csv.read(path) if isinstance(read, Record)]
    assert facts == [["330", "metres"], [], [], []]
    assert question_answer_csv.remarks(path) == []


def test_a_key_fact_that_the_answer_lacks_makes_a_bad_line(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "question,answer,key_facts\nHow tall?,330 metres.,330;feet\n")
    with pytest.raises(Unreadable, match="'feet'"):
        check(only(question_answer_csv.read(path)), Giver(b"secret", 1, 1))


def test_a_broken_row_costs_its_own_line_and_no_other(tmp_path: Path) -> None:
    lines = ["question,answer", 'a,"never closed', "b,2", "c", "d,\xff", "e,5", 'f,"6', "g,7", 'h,"8" ', "i,", "j,10"]
    path = written(tmp_path, "a.csv", "\n".join(lines).encode("latin-1"))
    made = list(question_answer_csv.read(path))
    assert [read.line for read in made if isinstance(read, Record)] == [3, 6, 8, 11]
    why = reasons(made)
    assert list(why) == [2, 4, 5, 7, 9, 10]
    assert "UTF-8" in why[5]
    assert "answer is missing" in why[4]


def test_an_answer_that_a_missing_quote_would_cut_short_is_refused(tmp_path: Path) -> None:
    lines = ["question,answer", "How tall?,Yes, it is 330 metres.", "How wide?,125 metres., ,", 'Why?,"Yes, so."']
    made = list(question_answer_csv.read(written(tmp_path, "a.csv", "\n".join(lines))))
    assert [read.value["content"] for read in made if isinstance(read, Record)] == ["125 metres.", "Yes, so."]
    assert reasons(made) == {2: "it has 3 columns where the first line has 2: put quotes around a text with ',' in it"}


def test_an_endless_quote_is_given_up_soon(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", 'question,answer\na,"open\n' + "b,2\n" * 100_000)
    made = list(question_answer_csv.read(path))
    assert list(reasons(made)) == [2]
    assert len(made) == 100_001


@pytest.mark.parametrize("line", ['a","b\n', 'a,"b\n', '"a\n', 'a,b\n"\n', 'a","b\n' * 50 + 'x"y,"\n'])
def test_quotes_that_stay_open_however_they_are_read_cost_no_line_more_than_a_few_readings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    readings = 0

    def counting(lines: Iterator[str], **how: Any) -> Any:
        def counted() -> Iterator[str]:
            nonlocal readings
            for one in lines:
                readings += 1
                yield one

        return csv_reader(counted(), **how)

    csv_reader = csv.reader
    monkeypatch.setattr(csv, "reader", counting)
    content = "question,answer\n" + line * (3000 // line.count("\n")) + 'Why?,"Yes,\nso."\n'
    list(question_answer_csv.read(written(tmp_path, "a.csv", content)))
    assert readings < 3 * content.count("\n")


def test_a_record_of_several_lines_is_read_behind_quotes_that_stay_open(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "question,answer\n" + 'a","b\n' * 100 + '"How\ntall?",330.\n')
    *bad, last = question_answer_csv.read(path)
    assert list(reasons(bad)) == list(range(2, 102))
    assert isinstance(last, Record)
    assert (last.line, last.messages[0][1]) == (102, "How\ntall?")


def test_a_table_without_the_columns_names_those_it_looks_for(tmp_path: Path) -> None:
    for content in ("id,prompt,type\n1,How tall?,safe\n", "just words\nand more\n"):
        with pytest.raises(InvalidInput, match="`question` and `answer`"):
            list(question_answer_csv.read(written(tmp_path, "a.csv", content)))
