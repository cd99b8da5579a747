"""Every error raised on purpose: a code for programs, a sentence, an advice.

No message may hold patient text. HTTP statuses live in `core/response.py`, exit codes in
`cli/`; both are keyed by `code`.
"""

from __future__ import annotations

from typing import ClassVar


class DdxError(Exception):
    """Something went wrong that this program foresaw."""

    code: ClassVar[str] = "internal"
    advice: ClassVar[str] = "Report it with the prediction id; the log has the details."

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or self.code).strip().splitlines()[0]


# --- settings ---------------------------------------------------------------------------


class SettingsError(DdxError):
    """A setting is wrong."""

    code = "bad_settings"
    advice = "Correct it, then look at `ddx config`."


# --- what a request can ask for in vain -------------------------------------------------


class InvalidRequest(DdxError):
    """The body is not a valid request."""

    code = "invalid_request"
    advice = "Correct the named field; /docs shows the request's form."

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class BodyTooLarge(DdxError):
    """The body is larger than this server takes."""

    code = "body_too_large"
    advice = "Send at most 50,000 characters of case, and many cases in several batches."


class WrongContentType(DdxError):
    """The body is not JSON."""

    code = "unsupported_media_type"
    advice = "Send the header `Content-Type: application/json`."


class SlowBody(DdxError):
    """The body did not arrive in time."""

    code = "request_timeout"
    advice = "Send the whole body at once, then retry."


class UnknownModel(DdxError):
    """There is no model of this name."""

    code = "unknown_model"
    advice = "`ddx models` lists the names; leave model_name out for the default."


class UnknownPrompt(DdxError):
    """There is no prompt configuration of this index."""

    code = "unknown_prompt"
    advice = "`ddx prompts` lists the indexes; leave prompt_version out for the model's own."


class ModelNotConfigured(DdxError):
    """The model has no API key."""

    code = "model_not_configured"
    advice = "Set the named variable and restart, or ask for the model `knowledge`."


class TrackerReused(DdxError):
    """The tracker was used before, with another body."""

    code = "tracker_reused"
    advice = "Send a new tracker with a new body; the same one only to retry."


class PredictionNotFound(DdxError):
    """There is no prediction of this id."""

    code = "not_found"
    advice = "Check the id; it is in the header X-Prediction-Id of the answer."


class BatchNotFound(PredictionNotFound):
    """There is no batch of this id."""

    advice = "Check the id; it is in the reply that took the batch, in this server's folder."


class UnfinishedPrediction(DdxError):
    """The prediction has no outcome yet."""

    code = "unfinished"
    advice = "Wait until it has ended; where its server died, start that once more."


# --- who asks -----------------------------------------------------------------------------


class NotIdentified(DdxError):
    """Nobody gets in without a key."""

    code = "unauthenticated"
    advice = "Send the header `Authorization: Bearer KEY`; `ddx keys create` makes one."


class BadToken(NotIdentified):
    """The issuer's token is not good here."""

    advice = "Get a new token from the issuer, with this server as its audience."


class NotAllowed(DdxError):
    """The caller may not do this."""

    code = "forbidden"
    advice = (
        "Ask the server's operator for a key with the role; `ddx keys create --role` makes one."
    )


class ClaimMissing(NotAllowed):
    """The issuer's token does not say what its bearer may do here."""

    advice = (
        "Let who runs the issuer put the claim into its tokens; the settings oidc_tenant_claim and"
        " oidc_roles_claim name it."
    )


class TooManyRequests(DdxError):
    """The caller sends more than it may."""

    code = "rate_limited"
    advice = "Retry after the seconds of the header Retry-After, with the same tracker."

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class KeysUnavailable(DdxError):
    """The file of API keys cannot be used."""

    code = "keys_unavailable"
    advice = "Look at its mode and owner, or restore it from a backup; until then nobody gets in."


class IssuerUnavailable(DdxError):
    """The keys of the tokens' issuer cannot be had."""

    code = "issuer_unavailable"
    advice = "Retry later; an API key works meanwhile. `ddx doctor --all` says what is wrong."


class AccessTrailUnavailable(DdxError):
    """The trail of who looked at what cannot be kept."""

    code = "access_trail_unavailable"
    advice = "Free some space or mend the file; until then nothing is shown. Predictions go on."


class UnknownKey(DdxError):
    """There is no API key of this id."""

    code = "unknown_key"
    advice = "`ddx keys list` shows the ids."


class UnsafeAddress(DdxError):
    """The server would be reached from other machines with its doors open."""

    code = "unsafe_address"
    advice = (
        "Make a key with `ddx keys create --role predict`, or set oidc_issuer; set tls_cert_file"
        " and tls_key_file, or behind_proxy = true where a proxy on the way does TLS. Or listen on"
        " 127.0.0.1."
    )


# --- the engine -------------------------------------------------------------------------


class EngineError(DdxError):
    """The model gave no usable answer."""

    code = "model_error"
    advice = "Retry with the same tracker, or ask for another model."


class ModelDeadline(EngineError):
    """The model did not answer before its deadline."""

    code = "model_deadline"
    advice = "Retry with the same tracker, or raise timeout_s of the model."


class Interrupted(DdxError):
    """The server stopped before the answer was known."""

    code = "interrupted"
    advice = "Retry with the same tracker: a new prediction starts."


class Overloaded(DdxError):
    """The server has as many requests under way as it takes."""

    code = "overloaded"
    advice = "Retry after the seconds of the header Retry-After."


# --- the journal ------------------------------------------------------------------------


class JournalUnavailable(DdxError):
    """The journal cannot make a record durable."""

    code = "journal_unavailable"
    advice = "Retry later. `ddx doctor` says what is wrong; no accepted request is lost."


class JournalFull(JournalUnavailable):
    """The disk of the journal has no room."""

    code = "journal_full"
    advice = "Free some space; the server goes on by itself. No accepted request is lost."


class BacklogFull(JournalUnavailable):
    """Too much waits for delivery to MLflow."""

    code = "backlog_full"
    advice = "Bring MLflow back; the server goes on by itself. No accepted request is lost."


class ClaimsUnavailable(JournalUnavailable):
    """Nobody can say now who holds the tracker."""

    code = "claims_unavailable"
    advice = "Retry later with the same tracker; without one the request is taken now."


class TrackerUnsettled(JournalUnavailable):
    """The tracker belongs to a prediction that may have ended, and its process does not answer."""

    code = "tracker_unsettled"
    advice = "Retry with the same tracker: it answers once that process is back."


class JournalInUse(DdxError):
    """Another process writes this journal."""

    code = "journal_in_use"
    advice = "Stop the other server, or give this one a name of its own with DDX_INSTANCE."


class JournalDamaged(DdxError):
    """The journal does not read as it was written."""

    code = "journal_damaged"
    advice = "Keep the files as they are, and restore the last backup beside them."


class BadCheckpoint(DdxError):
    """The checkpoint is not one that this deployment signed."""

    code = "bad_checkpoint"
    advice = "Take the checkpoint and the public key from where you keep them, unchanged."


class AlreadyFinished(DdxError):
    """A finished record is final; a retry is a new record."""

    code = "already_finished"


class MasterKeyUnavailable(DdxError):
    """The master key is not at hand."""

    code = "master_key_unavailable"
    advice = (
        "Bring it back, or name it by master_key_file, master_key_env or master_key_command, as"
        " docs/security.md says; without it no record can be read."
    )


class WrongMasterKey(DdxError):
    """The master key is not the one that the records' keys are wrapped under."""

    code = "wrong_master_key"
    advice = "`ddx keys master status` names the one that is wanted. Nothing was changed."


class KeysInUse(DdxError):
    """The records' keys are in use."""

    code = "keys_in_use"
    advice = "Stop the server and the deliverer (`ddx up`), then repeat it. Nothing was changed."


class Erased(DdxError):
    """The record's content was erased; its place in the chain remains."""

    code = "erased"
    advice = "Nothing can bring it back."


class BadBackup(DdxError):
    """A backup is damaged, or is none."""

    code = "bad_backup"
    advice = "Take an earlier one. `ddx backup verify PATH` checks a backup whole."


class BrokenChain(BadBackup):
    """Backups are not of one chain, or not all of it."""

    advice = "Name the whole backup first, then each increment, in the order they were made."


class MoveRefused(DdxError):
    """MLflow's rows or files cannot be moved, or differ after it."""

    code = "move_refused"
    advice = "The old store is as it was. Repeat the command once the cause is gone."


class OnHold(DdxError):
    """Something to be erased is named in the legal hold."""

    code = "on_hold"
    advice = "Take it out of the file that legal_hold in ddx.toml names, once it may go."


# --- MLflow -----------------------------------------------------------------------------


class TrackerUnavailable(DdxError):
    """MLflow cannot be reached now."""

    code = "mlflow_unavailable"
    advice = "Start MLflow or correct its address; delivery goes on by itself."


class DatabaseUnavailable(TrackerUnavailable):
    """MLflow's database cannot be reached now, or lets nobody in."""

    advice = "Start the database or correct its address (db_uri); delivery goes on by itself."


class CloudUnavailable(TrackerUnavailable):
    """A cloud, where artifacts or MLflow are, cannot be reached now, or lets nobody in."""

    advice = (
        "Give the environment the cloud's credentials, or correct the address; nothing is lost."
    )


class DeliveryRefused(DdxError):
    """MLflow refuses this run, and would again."""

    code = "delivery_refused"
    advice = "`ddx doctor` names the record; it is kept in the journal."


class AnswerLost(TrackerUnavailable):
    """MLflow may have done what it was asked, or may still do it: its answer was not seen."""

    code = "mlflow_answer_lost"


class UntestedSchema(TrackerUnavailable):
    """MLflow's database has a form that direct insertion was not tested with."""

    code = "mlflow_schema_untested"
    advice = 'Set delivery = "client", or update this program.'


class TracesUnavailable(DdxError):
    """The collector of traces cannot be reached now."""

    code = "traces_unavailable"
    advice = "Start it, or correct otlp_endpoint; nothing is lost, and traces go on by themselves."


class DeliveryInUse(DdxError):
    """Another process delivers from this data folder."""

    code = "delivery_in_use"
    advice = "This needs to be the only deliverer: stop `ddx up` or `ddx deliver` first."


class ArchiveDamaged(DdxError):
    """What the archive of old runs holds is not what was put there."""

    code = "archive_damaged"
    advice = "Bring the archive's files back from a copy. The journal still has every record."


# --- commands ---------------------------------------------------------------------------


class PortInUse(DdxError):
    """A port that is needed is taken."""

    code = "port_in_use"
    advice = "Stop that process, or choose another port in ddx.toml."


class MissingExtra(DdxError):
    """An optional part of this program is not installed."""

    code = "missing_extra"
    advice = "Install the named extra."


class ServerNotReady(DdxError):
    """A started process did not become ready in time."""

    code = "not_ready"
    advice = "Its log file says why."


class FilesInUse(DdxError):
    """Another program has files open that would be deleted."""

    code = "files_in_use"
    advice = "Stop that program, then run `ddx reset` again. Nothing was deleted."


class AlreadyRunning(DdxError):
    """Another `ddx up` runs on this data folder."""

    code = "already_running"
    advice = "Stop that one first, or give this one another DDX_HOME or data_dir."


class BadPack(DdxError):
    """A file of a knowledge pack is not as its form says."""

    code = "bad_pack"
    advice = "Correct the named place; docs/condition-packs.md shows the form of the file."


class BadKnowledge(DdxError):
    """A knowledge file is not what it should be."""

    code = "bad_knowledge"
    advice = "Nothing was changed. Get the file anew; docs/knowledge.md names each and its form."


class KnowledgeInUse(DdxError):
    """Another command is changing the added knowledge."""

    code = "knowledge_in_use"
    advice = "Wait until it has ended, then repeat this one. Nothing was changed."


class KnowledgeUnreachable(DdxError):
    """The official releases cannot be fetched."""

    code = "knowledge_unreachable"
    advice = (
        "Nothing was changed. Where there is no network, fetch the files elsewhere and use "
        "`ddx knowledge add FOLDER`."
    )


# --- evaluation -------------------------------------------------------------------------


class BadCases(DdxError):
    """A file of cases cannot be read."""

    code = "bad_cases"
    advice = "Correct the named line; `ddx evaluate --help` shows the forms that are read."


class BadResults(DdxError):
    """A results file cannot be used."""

    code = "bad_results"
    advice = "Name a results.jsonl that `ddx evaluate` wrote, of the same cases and settings."


class ServerUnreachable(DdxError):
    """The server does not answer."""

    code = "server_unreachable"
    advice = "Start it with `ddx up`, or leave --server out to ask in this process."


class ClusterUnavailable(DdxError):
    """The Ray cluster cannot be reached, or gave up a piece of work."""

    code = "cluster_unavailable"
    advice = "See `ray status` on its head; without --engine ray this machine works alone."


class NodeRefused(DdxError):
    """A node of the Ray cluster cannot do what it was given."""

    code = "node_refused"
    advice = (
        "Make each node like this machine: the same version of ddx-server with the same extras,"
        " the same added knowledge, and the keys of the models."
    )


class EvaluationStopped(DdxError):
    """The evaluation did not come to its end."""

    code = "evaluation_stopped"
    advice = "Mend what it names, then go on from there."


class NotAgreed(DdxError):
    """What may cost money was not agreed to."""

    code = "not_agreed"
    advice = "Nothing was asked. Say --yes where the cost is agreed, or make the grid smaller."


class OutputRefused(DdxError):
    """The file to write is there already, or cannot be made."""

    code = "output_refused"
    advice = "Name what is not there yet, in a folder that you may write: nothing is written over."


class BadProgram(DdxError):
    """A file of a compiled program cannot be used."""

    code = "bad_program"
    advice = "Compile it again with `ddx optimize`, or take `program` out of the model's entry."


class NothingLearned(DdxError):
    """An optimiser came back without anything to use."""

    code = "nothing_learned"
    advice = "Give it more training cases or calls, or a model that finds some of them."


class LedgerUnavailable(DdxError):
    """The ledger cannot be read or written."""

    code = "ledger_unavailable"
    advice = "See that its folder can be written and has room; `ddx ledger rebuild` makes it anew."


class BadQuestion(DdxError):
    """A report was asked for that cannot be made."""

    code = "bad_question"
    advice = "`ddx report --help` shows what can be asked."
