"""Starts a training that the policy asked for, as a flow run of the project's deployment."""

from __future__ import annotations

from mlops_box.errors import UnavailableError


class PrefectLauncher:
    """One flow run per idempotency key; it outlives the monitor run that asked for it.

    The event bus of Prefect delivers at most once; this call returns after the flow run is committed, and asked again
    with the same key it returns the same run.
    """

    def train(self, project: str, *, idempotency_key: str, trigger: str) -> str:
        """Create the flow run; returns its id.

        Raises:
            UnavailableError: The Prefect API does not answer, or serves no such deployment.
        """
        import httpx
        from prefect.client.orchestration import get_client
        from prefect.exceptions import ObjectNotFound, PrefectException

        try:
            with get_client(sync_client=True) as client:
                deployment = client.read_deployment_by_name(f"train/{project}")
                run = client.create_flow_run_from_deployment(
                    deployment.id,
                    parameters={
                        **deployment.parameters,
                        "trigger": trigger,
                        "idempotency_key": idempotency_key,
                    },
                    idempotency_key=idempotency_key,
                    tags=deployment.tags,
                )
        except ObjectNotFound as error:
            raise UnavailableError(
                f"Prefect knows no deployment train/{project}", hint="mlops-box up registers it"
            ) from error
        except (httpx.HTTPError, PrefectException) as error:
            raise UnavailableError(
                f"the Prefect API does not answer: {error}", hint="mlops-box status"
            ) from error
        return str(run.id)
