from eas.api.builders import chain as chain
from eas.api.builders import expr as expr
from eas.api.builders import for_loop as for_loop
from eas.api.builders import repeat as repeat
from eas.api.builders import task as task
from eas.api.builders import when as when
from eas.api.job import Job as Job
from eas.api.job import job as job
from eas.api.session import connect as connect
from eas.api.submission import estimate as estimate
from eas.api.submission import plan as plan
from eas.api.submission import submit as submit
from eas.api.submission import validate as validate
from eas.api.task import Product as Product
from eas.api.task import Task as Task

__version__: str
