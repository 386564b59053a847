"""Task chains that must be refused: where the fault is and what is said about it.

Importable, because the command line is tested with the same files.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent

# File name; JSON path, or line and column, as the message has it; part of the message or its hint.
CASES: list[tuple[str, str, str]] = [
    ("json_trailing_comma.json", "line 3, column 21", "remove the comma"),
    ("json_missing_comma.json", "line 3, column 3", "put a comma"),
    ("json_single_quotes.json", "line 2, column 3", "double quotes"),
    ("json_comment.json", "line 2, column 3", "no comments"),
    ("json_not_closed.json", "line 4, column 1", "the file ends too early"),
    ("json_python_words.json", "line 2, column 42", "write true instead of True"),
    ("json_two_documents.json", "line 2, column 1", "one object"),
    ("json_empty.json", "line 1, column 1", "empty"),
    ("json_not_utf8.json", "line 2, column 19", "UTF-8"),
    ("json_nan.json", "task_list[0].duration", "NaN"),
    ("json_infinite.json", "task_list[0].duration", "too large"),
    ("json_key_twice.json", "task_list[0].name", "given twice"),
    ("json_too_deep.json", "(file)", "nested deeper"),
    ("json_half_a_character.json", "task_list[0].name", "surrogate"),
    ("top_level_list.json", "(file)", "holds a list"),
    ("no_task_list.json", "(file)", "'task_list' is missing"),
    ("misspelt_task_list.json", "(file)", "is 'taks_list' a misspelling of it"),
    ("task_list_is_object.json", "task_list", "must be a list of tasks"),
    ("job_name_is_number.json", "job_name", "must be a string"),
    ("task_is_string.json", "task_list[1]", "a task must be an object"),
    ("no_task.json", "task_list[0]", "'task' is missing"),
    ("unknown_task_type.json", "task_list[0].task_list[0].task", "nearest names: transit_search_tls"),
    ("reserved_task_type.json", "task_list[0].task", "its code is not public"),
    ("inputs_is_list.json", "task_list[0].inputs", "must be an object"),
    ("file_name_is_number.json", "task_list[0].inputs.lightcurve", "must be a string"),
    ("missing_input.json", "task_list[0]", "verify needs inputs.lightcurve"),
    ("misspelt_output.json", "task_list[0]", "did you mean 'lightcurve' instead of 'lightcurv'"),
    ("name_is_list.json", "task_list[0].name", "must be a string"),
    ("requires_is_string.json", "task_list[1].requires_metadata_from", "must be a list of names"),
    ("requires_unknown_name.json", "task_list[1].requires_metadata_from[0]", "did you mean 'transit_detection'"),
    ("requires_later_task.json", "task_list[0].requires_metadata_from[0]", "comes later"),
    ("loop_two_ranges.json", "task_list[0]", "gives values and log_range"),
    ("loop_no_range.json", "task_list[0]", "no values to loop over"),
    ("loop_no_parameter.json", "task_list[0]", "'parameter' is missing"),
    ("loop_parameter_is_no_name.json", "task_list[0].parameter", "not a valid name"),
    ("loop_values_is_number.json", "task_list[0]", "values is a number"),
    ("loop_range_of_two.json", "task_list[0]", "a list of 2"),
    ("loop_no_steps.json", "task_list[0]", "no number of values"),
    ("loop_log_of_zero.json", "task_list[0]", "not above 0"),
    ("loop_log_of_zero_evaluated.json", "task_list[0]", "not above 0"),
    ("loop_without_tasks.json", "task_list[0]", "'task_list' is missing"),
    ("conditional_no_criterion.json", "task_list[0]", "'criterion' is missing"),
    ("conditional_criterion_no_brackets.json", "task_list[0].criterion", "must be an expression"),
    ("while_no_criterion.json", "task_list[0]", "'repeat_criterion' is missing"),
    ("while_never_ends.json", "task_list[0].repeat_criterion", "always true"),
    ("while_still_repeats.json", "task_list[0].repeat_criterion", "still repeats"),
    ("while_unknown_child.json", "task_list[0].requires_metadata_from_child[0]", "no child of this loop"),
    ("expression_syntax.json", "task_list[0].specs.semi_major_axis", "not valid Python"),
    ("expression_dunder.json", "task_list[0].specs.noise", "attribute .__mro__ is not allowed"),
    ("expression_import.json", "task_list[0].specs.noise", "not allowed"),
    ("expression_format_dunder.json", "task_list[0].outputs.lightcurve", "not a plain name"),
    ("expression_lambda.json", "task_list[0].note", "lambda is not allowed"),
    ("expression_power.json", "task_list[0].duration", "power of more than"),
    ("expression_long_string.json", "task_list[0].note", "repeats a sequence"),
    ("expression_in_key.json", "task_list[0].specs", "lambda is not allowed"),
    ("expression_unknown_metadata.json", "task_list[0].task_list[0].specs.planet_radius", "nearest keys: size"),
    ("expression_metadata_not_requested.json", "task_list[1].criterion", "has no requires_metadata_from"),
    ("expression_other_metadata_requested.json", "task_list[2].criterion", "'search'"),
    ("path_leaves_store.json", "task_list[0].outputs.lightcurve", "leaves the file store"),
    ("path_leaves_store_evaluated.json", "task_list[0].task_list[0].outputs.lightcurve", "leaves the file store"),
    ("path_absolute.json", "task_list[0].inputs.lightcurve", "absolute path"),
    ("path_working_directory.json", "working_directory", "leaves the file store"),
    ("path_reserved.json", "task_list[0].outputs.lightcurve", "a reserved directory"),
    ("path_backslash.json", "task_list[0].outputs.lightcurve", "backslash"),
    ("cycle.json", "task_list[0]", "dependency cycle"),
    ("cycle_through_branch.json", "task_list[0]", "dependency cycle"),
    ("reads_what_it_makes.json", "task_list[0]", "depends on itself"),
    ("two_makers.json", "task_list[1].task_list[0].outputs.lightcurve", "made by task_list[0] too"),
    ("made_in_every_turn.json", "task_list[0].task_list[0].outputs.lightcurve", "more than once"),
]

# An input that nothing makes, in this job or another: only who knows the task database can tell.
MISSING_PRODUCERS: list[tuple[str, str, str]] = [
    ("missing_producer.json", "task_list[1].inputs.lightcurve", "b.gz"),
]
