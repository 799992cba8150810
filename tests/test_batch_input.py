"""What a batch is asked for: numbers, names and YAML that make no sense are refused in one line."""

import pytest

from mmlib.batch import engine, grid
from mmlib.batch.__main__ import main
from mmlib.batch.parameters import read_parameters
from mmlib.data.readers import documents
from mmlib.scores import results

PARAMETERS = (
    'dataset: str = "synthetic"  # synthetic | mosi: which corpus\n'
    'seeds: int = 2\nlr: float = 0.1\nlayers: list = []\nlooks: dict = {}\ntext: str = ""\n'
    'run: str = "interactive"\n'
)


@pytest.fixture
def project(small):
    small.notebook("02_a", PARAMETERS, "print(run)")
    small.grid("g", "notebooks: 02_a\ncross: {seeds: [1, 2]}")
    return small


def refused(capsys, arguments: list[str], *words: str) -> None:
    assert main(arguments) == 64
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and len(error) < 400, error
    assert all(word in error for word in words), error


# The command line


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--memory", ("0", "-4", "nan", "inf", "four")),
        ("--timeout", ("-1", "0", "nan", "inf")),
        ("--retry", ("-1", "1.5", "nan")),
        ("--workers", ("0", "-2", "two")),
    ],
)
def test_numbers_that_make_no_sense_are_refused(project, capsys, option, values):
    for value in values:
        refused(capsys, ["g", f"{option}={value}"], option, repr(value), "number from")
    assert not (project.runs / "g").exists()


def test_numbers_of_verify_are_checked_too(project, capsys):
    for arguments in (["--points", "0"], ["--seed", "-1"], ["--workers", "x"]):
        refused(capsys, ["verify", "g", *arguments], arguments[0], repr(arguments[1]))


@pytest.mark.parametrize("option", ["--run", "--only", "--dataset", "--params", "--filter"])
def test_an_empty_option_is_refused_and_starts_nothing(project, capsys, option):
    refused(capsys, [option, ""], f"{option} is empty")
    refused(capsys, [f"{option}="], f"{option}= is empty")
    assert [path.name for path in project.runs.iterdir()] == ["grids"]


@pytest.mark.parametrize("host", ["nowhere.invalid", "203.0.113.7", "::7", "a" * 300])
def test_a_host_that_is_no_address_of_this_machine_is_refused(project, capsys, host):
    refused(capsys, ["g", "--host", host], "--host", "is no address of this machine")
    assert not (project.runs / "g").exists()


def test_an_empty_grid_name_is_not_every_notebook(project, capsys):
    refused(capsys, [""], "GRID is empty")
    refused(capsys, ["collect", ""], "is empty")


def test_options_that_do_not_go_together_are_one_line(project, capsys):
    refused(capsys, ["g", "--dataset", "mosi"], "a grid", "--filter chooses")
    refused(capsys, ["--filter", "x=1"], "--filter")
    refused(capsys, ["g", "--nosuch"], "--nosuch", "--help")
    refused(capsys, ["g", "--resume", "--fresh"], "--fresh")
    refused(capsys, ["compare", "a"], "b")


@pytest.mark.parametrize(
    "name",
    ["grids", "Params", "finetune", "settings.json", ".hidden", "..", "a/b", "a\nb", "x" * 300],
)
def test_a_run_that_cannot_be_one_is_refused_everywhere(project, capsys, name):
    for arguments in (["--run", name], ["g", "--run", name], ["collect", name], ["verify", name]):
        assert main(arguments) == 64
        error = capsys.readouterr().err
        assert error.startswith("error: run ") and error.count("\n") == 1
    with pytest.raises(ValueError, match="run "):
        results.save([], name, "02_a")
    assert [path.name for path in project.runs.iterdir()] == ["grids"]


def test_a_grid_with_a_name_too_long_for_a_file_is_not_there(project, capsys):
    refused(capsys, ["g" * 300], "no grid", "one of g")


@pytest.mark.parametrize(("given", "count"), [("2,1", 2), ("3", 3), (" 4 , 2,1", 4), ("", None)])
def test_threads_are_the_first_of_openmp_s_list(monkeypatch, given, count):
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert engine.threads(1) == (count or engine.CPU_COUNT)


@pytest.mark.parametrize("given", ["0", "-1", "two", "2;1", "2,", "1.5"])
def test_threads_that_are_no_number_are_refused(project, capsys, monkeypatch, given):
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    refused(capsys, ["g"], f"OMP_NUM_THREADS={given}", "unset")


def test_no_more_workers_than_points():
    options = type("Options", (), {"workers": 10**6, "scheduler": None, "memory": 4})
    from mmlib.batch.__main__ import _workers

    assert _workers(2, options) == 2 and _workers(0, options) == 1


# YAML: the same reader for grids, parameter files and --filter

TRAPS = [
    ("seeds: {}", "010", "YAML reads 010 as 8: write 8"),
    ("seeds: {}", "1:30", "YAML reads 1:30 as 90"),
    ("seeds: {}", "-017", "YAML reads -017 as -15"),
    ("lr: {}", "1:30.5", "YAML reads 1:30.5 as 90.5"),
    ("lr: {}", ".nan", "no number"),
    ("layers: {}", "[2024-05-01]", 'a date: write "2024-05-01", in quotes'),
    ("looks: {}", "{day: 2024-05-01}", "a date"),
    ("looks: {}", "{1: a}", 'a name is text: write "1", in quotes'),
    ("looks: {}", "{true: a}", "a name is text"),
    ("looks: {}", "{~: a}", "a name is text"),
    ("looks: {}", "{[1]: a}", "a name is text"),
    ("looks: {}", "{a: 1, a: 2}", "a is given twice"),
    ("looks: {}", "{a: {b: 1, b: 2}}", "b is given twice"),
    ("layers: {}", "[!!set {a}]", "could not determine"),
    ("layers: {}", "[!!binary aGk=]", "could not determine"),
    ("layers: {}", "[!!bool maybe]", "cannot be read as bool"),
    ("layers: {}", "[!!int x]", "cannot be read as int"),
    ("looks: {}", "!!map [a]", "map"),
    ("layers: {}", "&a [*a]", "*a inside of what an alias names"),
    ("looks: {}", "&a {b: {<<: *a}}", "*a inside of what an alias names"),
    ("layers: {}", "[" * 100 + "]" * 100, "levels"),
    ("layers: {}", "[" * 10**5 + "]" * 10**5, "levels"),
]


@pytest.mark.parametrize(("text", "value", "message"), TRAPS, ids=[t[1][:12] for t in TRAPS])
def test_what_yaml_misreads_is_refused_with_its_line(project, text, value, message):
    line = text.format(value)
    project.grid("g", f"notebooks: 02_a\nfixed:\n  {line}\n")
    params = project.root / "p.yaml"
    params.write_text(f"dataset: mosi\n\n{line}\n")
    for read, path in (
        (lambda: grid.read(grid.find("g")), r"g\.yaml:3: "),
        (lambda: read_parameters(params), r"p\.yaml:3: "),
    ):
        with pytest.raises(ValueError, match=path) as error:
            read()
        assert message in str(error.value) and "\n" not in str(error.value)


def test_a_filter_is_read_by_the_same_reader(project, capsys):
    refused(capsys, ["g", "--filter", "seeds=010"], "--filter seeds=010", "reads 010 as 8")
    refused(capsys, ["g", "--filter", "seeds=2024-05-01"], "a date")


@pytest.mark.parametrize("deep", [9, 15])
def test_aliases_that_explode_are_refused_before_anything_is_built(project, deep):
    lines = ["a0: &a0 [" + ", ".join(["lol"] * 9) + "]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, deep)]
    params = project.root / "p.yaml"
    params.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"p\.yaml:2: \*a0 inside of what an alias names"):
        read_parameters(params)
    params.write_text(f"a: &a [{'0, ' * 10**4}]\n" + "\n".join(f"b{i}: *a" for i in range(10**4)))
    with pytest.raises(ValueError, match=r"p\.yaml:\d+: too many aliases"):
        read_parameters(params)
    params.write_text("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: [1]}\n")
    assert read_parameters(params) == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": [1]}}


def test_numbers_that_mean_the_same_to_yaml_and_to_a_reader_are_read():
    text = "[0, -3, +5, 1_000, 0x1F, 0b11, 1.5, .5, 1.0e-3, .inf, yes, null, '010', '1:30']"
    inf = float("inf")
    assert documents.parse(text)[1] == [
        0, -3, 5, 1000, 31, 3, 1.5, 0.5, 0.001, inf, True, None, "010", "1:30"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seeds: '3'", "seeds takes int, not '3' (YAML reads 3 as text: write 3)"),
        ("seeds: 08", "seeds takes int, not '08' (YAML reads 08 as text: write 8)"),
        ("lr: 1e-3", "lr takes float, not '1e-3' (YAML reads 1e-3 as text: write 0.001)"),
        ("lr: 1e999", "lr takes float, not '1e999'\n"),  # no number that could be written
        ("lr: nan", "lr takes float, not 'nan'\n"),
        ("seeds: 1e-3", "seeds takes int, not '1e-3'\n"),
        ("text: 12", "text takes str, not 12 (as text it stands in quotes)"),
        ("text: no", "text takes str, not False (as text it stands in quotes)"),
        ("text: [1]", "text takes str, not [1]"),
        ("02_a: 3", "02_a: write `name: value` lines below it"),
        ("02_a: [seeds]", "02_a: write `name: value` lines below it"),
        ("- seeds", "needs `name: value` lines"),
    ],
)
def test_a_parameter_file_that_does_not_fit_is_told_what_to_write(project, capsys, line, message):
    params = project.root / "p.yaml"
    params.write_text(line)
    refused(capsys, ["--params", str(params)], message)


def test_what_is_told_to_write_is_taken(project, capsys):
    params = project.root / "p.yaml"
    params.write_text("seeds: 8\nlr: 0.001\ntext: '12'\nlooks: {'1': '2024-05-01'}\n02_a:\n")
    assert main(["--params", str(params), "--dry-run"]) == 0


def test_texts_longer_than_a_file_name_are_no_paths(project, capsys):
    project.notebook("02_a", PARAMETERS + 'encoder: str = "minilm"\n', "print(run)")
    params = project.root / "p.yaml"
    params.write_text(f"text: {'a' * 300}\n")
    assert main(["--params", str(params), "--dry-run"]) == 0
    params.write_text(f"encoder: {'a' * 300}\n")  # the notebook refuses it in one line
    assert main(["--params", str(params), "--dry-run"]) == 0
