"""Incidents: alerts with one cause, what people decide about them, deployments, and runs of retraining."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009_incidents"
down_revision = "0008_contract_revisions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "deployment",
        sa.Column(
            "id",
            sa.String(length=64),
            nullable=False,
            comment="given by the sender, or a hash of what is deployed",
        ),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False, comment="wall clock"),
        sa.Column("source", sa.String(length=32), nullable=False, comment="api | mlflow | seen"),
        sa.Column("actor", sa.String(length=256), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("deployment_model", "deployment", ["model", "at_ms"], unique=False)
    op.create_table(
        "incident",
        sa.Column("id", sa.String(length=64), nullable=False, comment="that of the alert which opened it"),
        sa.Column("model", sa.String(length=256), nullable=False, comment="of the alert that matters most"),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False, comment="page | warn | info"),
        sa.Column(
            "state",
            sa.String(length=16),
            nullable=False,
            comment="pending | firing | acknowledged | resolved | retracted",
        ),
        sa.Column(
            "start_ms",
            sa.BigInteger(),
            nullable=False,
            comment="event time: earliest window or onset of an alert",
        ),
        sa.Column(
            "latest_start_ms",
            sa.BigInteger(),
            nullable=False,
            comment="event time: latest first window of an alert",
        ),
        sa.Column("opened_at_ms", sa.BigInteger(), nullable=False, comment="event time"),
        sa.Column("closed_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False, comment="wall clock"),
        sa.Column(
            "look_at_ms",
            sa.BigInteger(),
            nullable=True,
            comment="wall clock: when time alone brings something; null: never",
        ),
        sa.Column("sequence", sa.Integer(), nullable=False, comment="number of changes"),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("record_bytes", sa.LargeBinary(), nullable=False, comment="who was told what, versioned"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("incident_look", "incident", ["look_at_ms"], unique=False)
    op.create_index("incident_start", "incident", ["start_ms"], unique=False)
    op.create_index("incident_state", "incident", ["state", "opened_at_ms"], unique=False)
    op.create_table(
        "incident_alert",
        sa.Column("alert_id", sa.String(length=64), nullable=False),
        sa.Column("incident_id", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.PrimaryKeyConstraint("alert_id"),
    )
    op.create_index("incident_alerts", "incident_alert", ["incident_id"], unique=False)
    op.create_index("incident_models", "incident_alert", ["model", "incident_id"], unique=False)
    op.create_table(
        "incident_column",
        sa.Column("incident_id", sa.String(length=64), nullable=False),
        sa.Column(
            "column",
            sa.String(length=512),
            nullable=False,
            comment="what models are fed with and that has changed",
        ),
        sa.PrimaryKeyConstraint("incident_id", "column"),
    )
    op.create_index("incident_columns", "incident_column", ["column"], unique=False)
    op.create_table(
        "incident_event",
        sa.Column("incident_id", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("change", sa.String(length=16), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=256), nullable=False),
        sa.Column(
            "at_ms",
            sa.BigInteger(),
            nullable=False,
            comment="event time of what the service saw, else wall clock",
        ),
        sa.Column("noted_at_ms", sa.BigInteger(), nullable=False, comment="wall clock"),
        sa.Column("alert_id", sa.String(length=64), nullable=True, comment="which alert changed; null: none"),
        sa.Column("told", sa.Text(), nullable=False, comment="JSON: names of the receivers"),
        sa.Column(
            "held", sa.Text(), nullable=False, comment="why nobody was told; empty if nothing was held back"
        ),
        sa.PrimaryKeyConstraint("incident_id", "sequence"),
    )
    op.create_table(
        "retraining_run",
        sa.Column(
            "id", sa.String(length=64), nullable=False, comment="deterministic: hash of incident and receiver"
        ),
        sa.Column("incident_id", sa.String(length=64), nullable=False),
        sa.Column("receiver", sa.String(length=256), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False, comment="see monitor.retraining.ledger"),
        sa.Column("reason", sa.Text(), nullable=False, comment="why it is in this state"),
        sa.Column("request", sa.Text(), nullable=False, comment="JSON: what the target is sent"),
        sa.Column("trigger", sa.String(length=16), nullable=False, comment="incident | person"),
        sa.Column(
            "actor",
            sa.String(length=256),
            nullable=False,
            comment="who approved or rejected it, or asked for it",
        ),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("run_url", sa.Text(), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("finished_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before_ms", sa.BigInteger(), nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("lease_token", sa.String(length=64), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column(
            "outcome",
            sa.Text(),
            nullable=True,
            comment="JSON: whether the version that came of it does better",
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("retraining_due", "retraining_run", ["state", "not_before_ms"], unique=False)
    op.create_index("retraining_incident", "retraining_run", ["incident_id"], unique=False)
    op.create_index(
        "retraining_receiver", "retraining_run", ["receiver", "model", "created_at_ms"], unique=False
    )
    op.create_table(
        "silence",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("match", sa.Text(), nullable=False, comment="JSON, as in routes"),
        sa.Column(
            "incident_id",
            sa.String(length=64),
            nullable=False,
            comment="only this incident; empty: all that match",
        ),
        sa.Column("from_ms", sa.BigInteger(), nullable=False, comment="wall clock"),
        sa.Column("until_ms", sa.BigInteger(), nullable=False, comment="wall clock"),
        sa.Column("actor", sa.String(length=256), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False, comment="person | deployment"),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_by", sa.String(length=256), nullable=True, comment="who ended it early"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("silence_until", "silence", ["until_ms"], unique=False)


def downgrade() -> None:
    """Remove them."""
    op.drop_table("silence")
    op.drop_table("retraining_run")
    op.drop_table("incident_event")
    op.drop_table("incident_column")
    op.drop_table("incident_alert")
    op.drop_table("incident")
    op.drop_table("deployment")
